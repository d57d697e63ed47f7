//! The actions that are served.

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One of the vendor's actions that are about API keys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

actions! {
    CreateApiKey,
    DescribeApiKey,
    DescribeApiKeysStatus,
    EnableApiKey,
    DisableApiKey,
    UpdateApiKey,
    DeleteApiKey,
    CreateUsagePlan,
    DescribeUsagePlan,
    DescribeUsagePlansStatus,
    ModifyUsagePlan,
    DeleteUsagePlan,
    BindSecretIds,
    UnBindSecretIds,
    DescribeUsagePlanSecretIds,
}

impl Action {
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == name)
    }
}
