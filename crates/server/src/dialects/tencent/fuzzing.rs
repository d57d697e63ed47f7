//! This wire's readers for the fuzzer.

use keywright_model::signing::tencent_v1::decode_parameters;

use super::error::Refusal;
use super::parameters::Parameters;
use super::wire::{Language, failure};
use super::{list, map};
use crate::dialects::fuzzing::{Fixed, query};

pub(super) fn read(input: &[u8]) {
    let parameters = match query(input) {
        None => Parameters::json(input),
        Some(text) => {
            let Ok(pairs) = decode_parameters(text) else { return };
            Parameters::nested(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        }
    };
    let made = parameters.and_then(|parameters| {
        drop((list::Window::read(&parameters), list::filters(&parameters, &["SecretName", "Status"])));
        drop((parameters.texts("AccessKeyIds"), parameters.whole("MaxRequestNum")));
        map::NewPair::read(&parameters)?.into_draft(&Fixed)
    });
    if let Err(refusal) = made {
        answered(&refusal);
    }
}

fn answered(refusal: &Refusal) {
    for language in [Language::named("en-US"), Language::default()] {
        drop(failure(refusal, language, "x"));
    }
}
