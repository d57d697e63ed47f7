//! The actions that are served.

/// One of the vendor's actions. The others come with `docs/dialects/tencent.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    CreateApiKey,
    UpdateApiKey,
}

impl Action {
    const ALL: [Self; 2] = [Self::CreateApiKey, Self::UpdateApiKey];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::CreateApiKey => "CreateApiKey",
            Self::UpdateApiKey => "UpdateApiKey",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}
