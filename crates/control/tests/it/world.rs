//! A small world of nouns, and random calls on it.

use keywright_control::keys::{KeyEdit, KeyRef, NewSecret, Rotation};
use keywright_control::{Caller, Error, NounKind, WriteOptions};
use keywright_model::document::Edit;
use keywright_model::id::{KeyId, SecretId};
use keywright_model::key::KeyKind;
use keywright_testkit::{TestNode, canary, origin};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::setup::{create, id_of, merge, noun, object};

/// Which of the nouns that there are: taken modulo their number.
type Pick = u8;

/// Something to set on a key.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    Name,
    Grants(Option<Value>),
    Roles(Vec<Pick>),
    Scope(Option<&'static str>),
    Owner(Option<Pick>),
    NewOwner,
    Enabled(bool),
    /// In seconds from now.
    Expires(Option<i64>),
    Begins(Option<i64>),
    Addresses(Option<&'static str>),
    Admin(Value),
    Grantable(Value),
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Create { keyspace: Pick, kind: KeyKind, fields: Vec<Field> },
    Update(Pick, Vec<Field>),
    Rotate(Pick, u64),
    Reveal(Pick),
    Expire(Pick),
    Enable(Pick, bool),
    Revoke(Pick),
    Delete(Pick),
    Undelete(Pick),
    MakeRole(Value),
    EditRole(Pick, Value),
    DropRole(Pick),
    MakePrincipal(Vec<Pick>),
    EditPrincipal(Pick, Vec<Pick>, bool),
    DropPrincipal(Pick),
    EditKeyspace(Pick, bool),
    Wait(u32),
}

/// A call and who makes it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) by: Pick,
    pub(crate) verb: Verb,
}

pub(crate) fn grants() -> impl Strategy<Value = Value> {
    let effect = prop_oneof![5 => Just("allow"), 1 => Just("deny")];
    let action = prop::sample::select(vec!["a", "b", "*", "a.*"]);
    let resource = prop::sample::select(vec!["x", "y", "x/**", "**", "*", "x/1"]);
    let grant = (effect, action, resource).prop_map(
        |(effect, action, resource)| json!({"effect": effect, "actions": [action], "resources": [resource]}),
    );
    prop::collection::vec(grant, 0..3).prop_map(Value::Array)
}

pub(crate) fn admin() -> impl Strategy<Value = Value> {
    let keys =
        json!(["keys.read", "keys.create", "keys.update", "keys.rotate", "keys.disable", "keys.reveal"]);
    let nouns = json!(["keys.update", "keys.disable", "roles.write", "principals.write", "keyspaces.write"]);
    let actions = prop::sample::select(vec![
        json!(["*"]),
        json!(["*"]),
        keys,
        nouns,
        json!(["*", "feed.lease"]),
        json!(["keys.create", "keys.update", "keys.delete"]),
        json!(["audit.read"]),
    ]);
    let orgs = prop::sample::select(vec![
        json!(["default"]),
        json!(["default"]),
        json!(["*"]),
        json!(["default", "second"]),
    ]);
    let keyspaces =
        prop::sample::select(vec![json!(["*"]), json!(["*"]), json!(["default"]), json!(["other"])]);
    (actions, orgs, keyspaces).prop_map(
        |(actions, orgs, keyspaces)| json!({"actions": actions, "orgs": orgs, "keyspaces": keyspaces}),
    )
}

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    prop::collection::vec(any::<Pick>(), 0..3)
}

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let times = prop::sample::select(vec![None, Some(-50), Some(50), Some(5_000)]);
    let field = prop_oneof![
        1 => Just(Field::Name),
        4 => prop::option::of(grants()).prop_map(Field::Grants),
        2 => picks().prop_map(Field::Roles),
        1 => prop::option::of(prop::sample::select(vec!["x/**", "y", "**"])).prop_map(Field::Scope),
        2 => prop::option::of(any::<Pick>()).prop_map(Field::Owner),
        1 => Just(Field::NewOwner),
        1 => any::<bool>().prop_map(Field::Enabled),
        1 => times.clone().prop_map(Field::Expires),
        1 => times.prop_map(Field::Begins),
        1 => prop::option::of(prop::sample::select(vec!["10.0.0.0/8", "192.0.2.1"])).prop_map(Field::Addresses),
        2 => admin().prop_map(Field::Admin),
        2 => grants().prop_map(Field::Grantable),
    ];
    prop::collection::vec(field, 1..4)
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let kind = prop_oneof![2 => Just(KeyKind::Api), 1 => Just(KeyKind::Management)];
    let made = (any::<Pick>(), kind, fields()).prop_map(|(keyspace, kind, fields)| Verb::Create {
        keyspace,
        kind,
        fields,
    });
    let overlap = prop::sample::select(vec![0, 40, 4_000]);
    let verb = prop_oneof![
        5 => made,
        8 => (any::<Pick>(), fields()).prop_map(|(key, fields)| Verb::Update(key, fields)),
        2 => (any::<Pick>(), overlap).prop_map(|(key, overlap)| Verb::Rotate(key, overlap)),
        1 => any::<Pick>().prop_map(Verb::Reveal),
        1 => any::<Pick>().prop_map(Verb::Expire),
        2 => (any::<Pick>(), any::<bool>()).prop_map(|(key, on)| Verb::Enable(key, on)),
        1 => any::<Pick>().prop_map(Verb::Revoke),
        1 => any::<Pick>().prop_map(Verb::Delete),
        1 => any::<Pick>().prop_map(Verb::Undelete),
        1 => grants().prop_map(Verb::MakeRole),
        4 => (any::<Pick>(), grants()).prop_map(|(role, grants)| Verb::EditRole(role, grants)),
        1 => any::<Pick>().prop_map(Verb::DropRole),
        1 => picks().prop_map(Verb::MakePrincipal),
        4 => (any::<Pick>(), picks(), any::<bool>())
            .prop_map(|(owner, roles, on)| Verb::EditPrincipal(owner, roles, on)),
        1 => any::<Pick>().prop_map(Verb::DropPrincipal),
        1 => (any::<Pick>(), any::<bool>()).prop_map(|(keyspace, on)| Verb::EditKeyspace(keyspace, on)),
        1 => (1..100_u32).prop_map(Verb::Wait),
    ];
    (any::<Pick>(), verb).prop_map(|(by, verb)| Call { by, verb })
}

/// What there is, and what the callers hold.
pub(crate) struct World {
    pub(crate) node: TestNode,
    root: Caller,
    pub(crate) keys: Vec<KeyId>,
    roles: Vec<String>,
    principals: Vec<String>,
    /// Secrets that were answered, with their keys.
    pub(crate) held: Vec<(KeyId, SecretId, String)>,
    /// Secrets of management keys that call; none means that root does.
    pub(crate) callers: Vec<String>,
    made: u32,
}

fn pick<T>(list: &[T], at: Pick) -> Option<&T> {
    list.get(usize::from(at).checked_rem(list.len())?)
}

impl World {
    /// Two organizations, two keyspaces, roles, principals and keys of somebody powerful.
    pub(crate) async fn start() -> Self {
        let node = TestNode::start().await;
        let root = node.root().await;
        let (keys, roles, principals) = (Vec::new(), Vec::new(), Vec::new());
        let mut world =
            Self { node, root, keys, roles, principals, held: Vec::new(), callers: Vec::new(), made: 0 };
        let everything = json!([{"effect": "allow", "actions": ["*"], "resources": ["**"]}]);
        let (node, root) = (&world.node, &world.root);
        noun(node, root, NounKind::Org, json!({"name": "second"})).await.unwrap();
        noun(node, root, NounKind::Keyspace, json!({"name": "other", "recoverable_secrets": true}))
            .await
            .unwrap();
        let roles =
            [everything.clone(), json!([{"effect": "allow", "actions": ["a"], "resources": ["x/**"]}])];
        for grants in roles {
            world.call_as_root(Verb::MakeRole(grants)).await;
        }
        for (roles, enabled) in [(vec![1], true), (vec![0], true), (vec![], true), (vec![0], false)] {
            world.call_as_root(Verb::MakePrincipal(roles.clone())).await;
            let last = Pick::try_from(world.principals.len() - 1).unwrap();
            world.call_as_root(Verb::EditPrincipal(last, roles, enabled)).await;
        }
        let wide = || Field::Grants(Some(everything.clone()));
        let bodies = [
            vec![wide(), Field::Owner(Some(0))],
            vec![Field::Grants(None), Field::Owner(Some(1))],
            vec![wide(), Field::Enabled(false)],
            vec![wide(), Field::Owner(Some(3))],
            vec![Field::Roles(vec![0]), Field::Scope(Some("x/**"))],
            vec![wide(), Field::Expires(Some(50))],
            vec![wide(), Field::Begins(Some(5_000)), Field::Addresses(Some("10.0.0.0/8"))],
            vec![Field::Roles(vec![1]), Field::Owner(Some(2))],
        ];
        for (at, fields) in bodies.into_iter().enumerate() {
            let keyspace = Pick::try_from(at % 2).unwrap();
            world.call_as_root(Verb::Create { keyspace, kind: KeyKind::Api, fields }).await;
        }
        let admin = json!({"actions": ["*", "feed.lease"], "orgs": ["*"], "keyspaces": ["*"]});
        let fields = vec![Field::Admin(admin), Field::Grantable(everything)];
        for enabled in [true, false] {
            let fields = [fields.clone(), vec![Field::Enabled(enabled)]].concat();
            world.call_as_root(Verb::Create { keyspace: 0, kind: KeyKind::Management, fields }).await;
        }
        world
    }

    async fn call_as_root(&mut self, verb: Verb) {
        self.call(&Call { by: 0, verb }).await.unwrap();
    }

    /// Makes a call; whatever is refused changes nothing.
    pub(crate) async fn call(&mut self, call: &Call) -> Result<(), Error> {
        let caller = match pick(&self.callers, call.by) {
            None => self.root.clone(),
            Some(secret) => self.node.control.authenticate(secret, None, origin()).await?,
        };
        match &call.verb {
            Verb::Create { keyspace, kind, fields } => self.create(&caller, *keyspace, *kind, fields).await,
            Verb::MakeRole(_) | Verb::EditRole(..) | Verb::DropRole(_) => {
                self.role(&caller, &call.verb).await
            }
            Verb::MakePrincipal(_) | Verb::EditPrincipal(..) | Verb::DropPrincipal(_) => {
                self.principal(&caller, &call.verb).await
            }
            Verb::EditKeyspace(at, recoverable) => {
                let name = if at.is_multiple_of(2) { "default" } else { "other" };
                let body = json!({"recoverable_secrets": recoverable});
                self.edit_noun(&caller, (NounKind::Keyspace, name), body).await
            }
            Verb::Wait(seconds) => {
                self.node.clock.advance_seconds(*seconds);
                Ok(())
            }
            on_key => self.change_key(&caller, on_key).await,
        }
    }

    async fn create(
        &mut self,
        caller: &Caller,
        keyspace: Pick,
        kind: KeyKind,
        fields: &[Field],
    ) -> Result<(), Error> {
        let mut body = self.body(fields, kind);
        let keyspace = if keyspace.is_multiple_of(2) { "default" } else { "other" };
        body.insert("keyspace".to_owned(), json!(keyspace));
        body.insert("kind".to_owned(), json!(kind));
        body.entry("name").or_insert(json!("made"));
        if kind == KeyKind::Management {
            body.entry("admin")
                .or_insert(json!({"actions": ["keys.read"], "orgs": ["default"], "keyspaces": []}));
        }
        let made = create(&self.node, caller, Value::Object(body)).await?.value;
        self.keys.push(made.record.key.id);
        self.hold(&made.record.key, made.secret.unwrap().expose());
        Ok(())
    }

    fn hold(&mut self, key: &keywright_model::key::Key, secret: &str) {
        canary::note_secret(secret);
        self.held.push((key.id, key.current_secret().unwrap().id, secret.to_owned()));
        if !self.callers.is_empty() && key.spec.rights.kind() == KeyKind::Management {
            self.callers.push(secret.to_owned());
        }
    }

    async fn change_key(&mut self, caller: &Caller, verb: &Verb) -> Result<(), Error> {
        let (Verb::Update(at, _)
        | Verb::Rotate(at, _)
        | Verb::Reveal(at)
        | Verb::Expire(at)
        | Verb::Enable(at, _)
        | Verb::Revoke(at)
        | Verb::Delete(at)
        | Verb::Undelete(at)) = verb
        else {
            panic!("not about a key: {verb:?}");
        };
        let Some(id) = pick(&self.keys, *at).copied() else { return Ok(()) };
        let (key, options, control) = (KeyRef::Id(id), WriteOptions::default(), self.node.control.clone());
        match verb {
            Verb::Update(_, fields) => {
                let kind = control.key(&self.root, &key).await?.key.spec.rights.kind();
                let edit: KeyEdit = merge(Value::Object(self.body(fields, kind)));
                control.update_key(caller, &key, &edit, &options).await?;
            }
            Verb::Rotate(_, overlap_seconds) => {
                let rotation = Rotation {
                    overlap_seconds: *overlap_seconds,
                    custom: None,
                    secret: NewSecret::Generated,
                };
                let made = control.rotate_key(caller, &key, &rotation, &options).await?.done()?.value;
                self.hold(&made.record.key, made.secret.unwrap().expose());
            }
            Verb::Reveal(_) => {
                let record = control.key(&self.root, &key).await?;
                let current = record.key.current_secret().unwrap().id;
                let secret = control.reveal_secret(caller, &key, current).await?;
                self.hold(&record.key, secret.expose());
            }
            Verb::Expire(_) => {
                let current = control.key(&self.root, &key).await?.key.current_secret().unwrap().id;
                control.expire_secret(caller, &key, current, &options).await?;
            }
            Verb::Enable(_, on) => drop(control.set_key_enabled(caller, &key, *on, &options).await?),
            Verb::Revoke(_) => drop(control.revoke_key(caller, &key, None, &options).await?),
            Verb::Delete(_) => drop(control.delete_key(caller, &key, &options).await?),
            _ => drop(control.undelete_key(caller, &key, &options).await?),
        }
        Ok(())
    }

    async fn role(&mut self, caller: &Caller, verb: &Verb) -> Result<(), Error> {
        match verb {
            Verb::MakeRole(grants) => {
                self.made += 1;
                let body = json!({"name": format!("role {}", self.made), "grants": grants});
                self.roles.push(id_of(&noun(&self.node, caller, NounKind::Role, body).await?));
            }
            Verb::EditRole(at, grants) => {
                let Some(id) = pick(&self.roles, *at).cloned() else { return Ok(()) };
                self.edit_noun(caller, (NounKind::Role, &id), json!({"grants": grants})).await?;
            }
            Verb::DropRole(at) => {
                let Some(id) = pick(&self.roles, *at).cloned() else { return Ok(()) };
                self.node.control.delete_noun(caller, NounKind::Role, &id, &WriteOptions::default()).await?;
                self.roles.retain(|role| *role != id);
            }
            other => panic!("not about a role: {other:?}"),
        }
        Ok(())
    }

    async fn principal(&mut self, caller: &Caller, verb: &Verb) -> Result<(), Error> {
        match verb {
            Verb::MakePrincipal(roles) => {
                let body = json!({"roles": self.role_ids(roles)});
                self.principals.push(id_of(&noun(&self.node, caller, NounKind::Principal, body).await?));
            }
            Verb::EditPrincipal(at, roles, enabled) => {
                let Some(id) = pick(&self.principals, *at).cloned() else { return Ok(()) };
                let body = json!({"roles": self.role_ids(roles), "enabled": enabled});
                self.edit_noun(caller, (NounKind::Principal, &id), body).await?;
            }
            Verb::DropPrincipal(at) => {
                let Some(id) = pick(&self.principals, *at).cloned() else { return Ok(()) };
                self.node
                    .control
                    .delete_noun(caller, NounKind::Principal, &id, &WriteOptions::default())
                    .await?;
                self.principals.retain(|owner| *owner != id);
            }
            other => panic!("not about a principal: {other:?}"),
        }
        Ok(())
    }

    async fn edit_noun(&self, caller: &Caller, (of, id): (NounKind, &str), body: Value) -> Result<(), Error> {
        let edit = Edit::Merge(object(body));
        self.node.control.update_noun(caller, of, id, &edit, &WriteOptions::default()).await.map(drop)
    }

    fn role_ids(&self, picks: &[Pick]) -> Value {
        let mut ids: Vec<&String> = picks.iter().filter_map(|at| pick(&self.roles, *at)).collect();
        ids.sort();
        ids.dedup();
        json!(ids)
    }

    fn body(&mut self, fields: &[Field], kind: KeyKind) -> Map<String, Value> {
        use keywright_control::Clock as _;
        let now = self.node.clock.now();
        let at = |seconds: &Option<i64>| json!(seconds.map(|seconds| now.plus_ms(seconds * 1_000)));
        let mut body = Map::new();
        for field in fields {
            self.made += 1;
            let api = kind == KeyKind::Api;
            let (name, value) = match field {
                Field::Name => ("name", json!(format!("key {}", self.made))),
                Field::Grants(grants) if api => ("grants", json!(grants)),
                Field::Roles(roles) if api => ("roles", self.role_ids(roles)),
                Field::Scope(scope) if api => ("scope", json!(scope.map(|pattern| [pattern]))),
                Field::Owner(owner) => {
                    ("owner", json!(owner.and_then(|owner| pick(&self.principals, owner))))
                }
                Field::NewOwner => ("owner", json!({"external_id": format!("user {}", self.made)})),
                Field::Enabled(on) => ("enabled", json!(on)),
                Field::Expires(seconds) => ("expires_at", at(seconds)),
                Field::Begins(seconds) => ("not_before", at(seconds)),
                Field::Addresses(list) => ("ip_allowlist", json!(list.map(|range| [range]))),
                Field::Admin(admin) if !api => ("admin", admin.clone()),
                Field::Grantable(grants) if !api => ("grantable", grants.clone()),
                Field::Grants(_)
                | Field::Roles(_)
                | Field::Scope(_)
                | Field::Admin(_)
                | Field::Grantable(_) => {
                    continue;
                }
            };
            body.insert(name.to_owned(), value);
        }
        body
    }
}
