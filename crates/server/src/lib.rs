//! Every way in: translate, call control or verifier, translate back.
