//! Puts a question before the rules: the request and the entities that Cedar sees.
//!
//! Only what a slice reads is shown, since each set, address and date costs about a microsecond to make.
//!
//! INVARIANT: what cannot be shown as the schema promises is a [`Fault`], never left out: a forbid that did not see
//! a claim would not forbid (C15).
//! INVARIANT: a caller is `issuer|subject`. The issuer is a [`portcullis_core::Name`] and has no `|`, so no subject
//! of one issuer can be spelled like a caller of another.

use std::collections::HashSet;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
};
use portcullis_core::{Assurance, Binding, ClaimValue, Principal, Proof, UnixMillis};
use time::OffsetDateTime;

use crate::book::{Door, Slice};
use crate::input::Input;
use crate::{ClaimKind, Fault, Method, Question, Sensitivity, words};

/// The entity types of the schema, made once.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    action: EntityTypeName,
    binding: EntityTypeName,
    caller: EntityTypeName,
    proof: EntityTypeName,
    role: EntityTypeName,
    route: EntityTypeName,
    sensitivity: EntityTypeName,
    service: EntityTypeName,
}

impl Vocabulary {
    /// `None` if Cedar does not accept the names, which a test excludes.
    pub(crate) fn new() -> Option<Self> {
        let name = |text: &str| EntityTypeName::from_str(text).ok();
        Some(Self {
            action: name(words::ACTION)?,
            binding: name(words::BINDING_TYPE)?,
            caller: name(words::CALLER)?,
            proof: name(words::PROOF_TYPE)?,
            role: name(words::ROLE)?,
            route: name(words::ROUTE)?,
            sensitivity: name(words::SENSITIVITY_TYPE)?,
            service: name(words::SERVICE)?,
        })
    }

    /// The resource of a route.
    pub(crate) fn route(&self, id: &str) -> EntityUid {
        uid(&self.route, id)
    }

    /// The route and its service, for rules that look at them.
    pub(crate) fn route_entities(
        &self,
        route: &EntityUid,
        service: &str,
        path: &str,
        sensitivity: Sensitivity,
    ) -> Result<[Entity; 2], Fault> {
        let service = uid(&self.service, service);
        let attrs = [
            (words::PATH.to_owned(), Value::new_string(path.to_owned())),
            (
                words::SENSITIVITY.to_owned(),
                Value::new_entity_uid(uid(&self.sensitivity, sensitivity.word())),
            ),
        ];
        let parents = HashSet::from([service.clone()]);
        let route = Entity::new_with_tags(route.clone(), attrs, parents, []).map_err(|_| Fault::Facts)?;
        Ok([route, Entity::with_uid(service)])
    }

    fn action_entities(&self, method: Method) -> [Entity; 2] {
        let group = uid(&self.action, method.group());
        let action = Entity::new_no_attrs(uid(&self.action, method.as_str()), HashSet::from([group.clone()]));
        [action, Entity::with_uid(group)]
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// What Cedar is asked.
pub(crate) struct Facts {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
}

/// A question on its way to becoming [`Facts`].
pub(crate) struct Facing<'f> {
    pub(crate) vocabulary: &'f Vocabulary,
    pub(crate) environment: &'f str,
    pub(crate) slice: &'f Slice,
    pub(crate) door: &'f Door,
    pub(crate) question: &'f Question<'f>,
}

impl Facing<'_> {
    /// Makes the request and the entities.
    pub(crate) fn facts(&self) -> Result<Facts, Fault> {
        let caller = self.caller();
        let entities = self.entities(&caller)?;
        let action = uid(&self.vocabulary.action, self.question.method.as_str());
        let context = self.context()?;
        let resource = self.slice.uid.clone();
        let request = Request::new(caller, action, resource, context, None).map_err(|_| Fault::Facts)?;
        Ok(Facts { request, entities })
    }

    /// The caller's name, if anybody asks for it.
    fn caller(&self) -> EntityUid {
        let Principal { issuer, subject, .. } = self.question.principal;
        if self.door.inputs.contains(&Input::Identity) {
            return uid(&self.vocabulary.caller, &format!("{issuer}|{subject}"));
        }
        uid(&self.vocabulary.caller, "")
    }

    fn entities(&self, caller: &EntityUid) -> Result<Entities, Fault> {
        let mut all: Vec<Entity> = vec![];
        if self.door.inputs.iter().any(Input::is_of_principal) {
            all.push(self.principal(caller)?);
        }
        if self.door.inputs.contains(&Input::Route) {
            all.extend(self.slice.entities.iter().cloned());
        }
        if self.door.inputs.contains(&Input::ActionGroups) {
            all.extend(self.vocabulary.action_entities(self.question.method));
        }
        if all.is_empty() {
            return Ok(Entities::empty());
        }
        Entities::from_entities(all, None).map_err(|_| Fault::Facts)
    }

    fn principal(&self, caller: &EntityUid) -> Result<Entity, Fault> {
        let mut attrs = Vec::with_capacity(self.door.inputs.len());
        for input in self.door.inputs.iter() {
            attrs.extend(self.attribute(input));
        }
        if self.door.inputs.contains(&Input::EveryClaim) {
            attrs.push((words::CLAIMS, self.claims()?));
        }
        let attrs = attrs.into_iter().map(|(name, value)| (name.to_owned(), value));
        let groups = self.door.inputs.contains(&Input::Groups).then_some(&self.question.principal.roles);
        let groups = groups.into_iter().flatten().map(|role| uid(&self.vocabulary.role, role));
        Entity::new_with_tags(caller.clone(), attrs, groups, []).map_err(|_| Fault::Facts)
    }

    fn attribute(&self, input: &Input) -> Option<(&'static str, Value)> {
        let Principal { issuer, subject, client, scopes, roles, .. } = self.question.principal;
        let vocabulary = self.vocabulary;
        Some(match input {
            Input::Issuer => (words::ISSUER, text(issuer.as_str())),
            Input::Subject => (words::SUBJECT, text(subject)),
            Input::Client => (words::CLIENT, text(client.as_ref()?)),
            Input::Proof => (
                words::PROOF,
                Value::new_entity_uid(uid(&vocabulary.proof, proof(self.question.principal.proof))),
            ),
            Input::Binding => {
                let word = binding(self.question.principal.binding);
                (words::BINDING, Value::new_entity_uid(uid(&vocabulary.binding, word)))
            }
            Input::Assurance => {
                (words::ASSURANCE, Value::new_long(assurance(self.question.principal.assurance)))
            }
            Input::Scopes => (words::SCOPES, texts(scopes)),
            Input::Roles => (words::ROLES, texts(roles)),
            _ => return None,
        })
    }

    fn claims(&self) -> Result<Value, Fault> {
        let mut record = vec![];
        for (name, kind) in &self.door.claims {
            if let Some(value) = self.question.principal.claims.get(name) {
                record.push((name.to_string(), claim(value, *kind)?));
            }
        }
        Value::new_record(record).map_err(|_| Fault::Facts)
    }

    fn context(&self) -> Result<Context, Fault> {
        let mut pairs = vec![];
        for input in self.door.inputs.iter() {
            let (name, value) = match input {
                Input::Environment => (words::ENVIRONMENT, text(self.environment)),
                Input::Method => (words::METHOD, text(self.question.method.as_str())),
                Input::Source => (words::SOURCE, address(self.question.source)),
                Input::Time => (words::TIME, moment(self.question.now)?),
                Input::EveryParameter => (words::PATH, self.parameters()?),
                _ => continue,
            };
            pairs.push((name.to_owned(), value));
        }
        if pairs.is_empty() {
            return Ok(Context::empty());
        }
        Context::from_pairs(pairs).map_err(|_| Fault::Facts)
    }

    fn parameters(&self) -> Result<Value, Fault> {
        let mut record = vec![];
        for input in self.door.inputs.iter() {
            if let Input::Parameter(name) = input {
                record.push((name.to_string(), text(parameter(self.question, name)?)));
            }
        }
        Value::new_record(record).map_err(|_| Fault::Facts)
    }
}

/// The one value of a path parameter.
pub(crate) fn parameter<'q>(question: &Question<'q>, name: &str) -> Result<&'q str, Fault> {
    let mut values = question.path.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        // SECURITY: of two values, one would be checked and the other used.
        _ => Err(Fault::PathParameter),
    }
}

/// The address as rules see it (B12).
pub(crate) fn canonical(source: IpAddr) -> IpAddr {
    source.to_canonical()
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

fn texts<'t>(values: impl IntoIterator<Item = &'t Arc<str>>) -> Value {
    Value::new_set(values.into_iter().map(|value| text(value)))
}

fn address(source: IpAddr) -> Value {
    Value::new_ip(canonical(source).to_string())
}

fn claim(value: &ClaimValue, kind: ClaimKind) -> Result<Value, Fault> {
    match (value, kind) {
        (ClaimValue::Flag(flag), ClaimKind::Flag) => Ok(Value::new_bool(*flag)),
        (ClaimValue::Number(number), ClaimKind::Number) => Ok(Value::new_long(*number)),
        (ClaimValue::Text(claim), ClaimKind::Text) => Ok(text(claim)),
        (ClaimValue::Texts(claims), ClaimKind::Texts) => Ok(texts(claims)),
        _ => Err(Fault::ClaimType),
    }
}

fn moment(now: UnixMillis) -> Result<Value, Fault> {
    let seconds = i64::try_from(now.seconds()).map_err(|_| Fault::Time)?;
    let date = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Fault::Time)?;
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, second) = date.to_hms();
    if year > 9_999 {
        return Err(Fault::Time);
    }
    let (month, millis) = (u8::from(month), now.0 % 1_000);
    Ok(Value::new_datetime(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
    )))
}

/// The word of a proof, as in the schema.
pub(crate) fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::Anonymous => "anonymous",
        Proof::Token => "token",
        Proof::Certificate => "certificate",
        Proof::ApiKey => "api-key",
    }
}

/// The word of a binding, as in the schema.
pub(crate) fn binding(binding: Binding) -> &'static str {
    match binding {
        Binding::Bearer => "bearer",
        Binding::MutualTls => "mutual-tls",
    }
}

/// The number of an assurance level, as in the schema.
pub(crate) fn assurance(level: Assurance) -> i64 {
    match level {
        Assurance::Low => 1,
        Assurance::Substantial => 2,
        Assurance::High => 3,
    }
}
