//! A contract: the operations of one OpenAPI document.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portcullis_core::Problems;
use serde_json::Value;

use crate::document::{Document, step};
use crate::finding::Place;
use crate::operation::{Operation, Security};
use crate::parameter::Parameter;
use crate::schema::Loader;

/// The operations of one OpenAPI document, compiled.
#[derive(Debug)]
pub struct Contract {
    operations: Vec<Arc<Operation>>,
    /// By method and template without parameter names.
    index: HashMap<(Box<str>, Box<str>), usize>,
    /// Paths of the document's servers, longest first.
    bases: Vec<Box<str>>,
}

/// The members of a path item that are operations.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// More operations than this are no API.
const MOST_OPERATIONS: usize = 5_000;

impl Contract {
    /// Reads a document of OpenAPI 3.0 or 3.1, YAML or JSON. `file` is what problems name.
    ///
    /// # Errors
    /// Everything that is wrong with it; what cannot be checked does not load.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::read(file, text)?;
        let mut loader = Loader::new(&document);
        let mut read = Vec::new();
        let paths = document.root.get("paths").and_then(Value::as_object);
        for (template, item) in paths.into_iter().flatten() {
            loader.path_item(template, item, &mut read);
        }
        let known = Arc::new(std::mem::take(&mut loader.names));
        let operations: Vec<_> = read
            .into_iter()
            .map(|operation| Arc::new(Operation { known: Arc::clone(&known), ..operation }))
            .collect();
        let key = |operation: &Operation| (operation.method.clone(), shape_of(&operation.template));
        let index: HashMap<_, _> = operations.iter().enumerate().map(|(n, o)| (key(o), n)).collect();
        if index.len() < operations.len() {
            loader.problem("#/paths", "has two templates that differ in parameter names only");
        }
        loader.problems.into_result(Self { operations, index, bases: bases(&document) })
    }

    /// Every operation, in the order of the document.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.operations.iter()
    }

    /// The operation for a method, upper case, and a template, whose parameters may have other names than in the document, and
    /// which may begin with the path of one of its servers. `HEAD` is `GET` where the document has no `HEAD`.
    #[must_use]
    pub fn operation(&self, method: &str, template: &str) -> Option<&Arc<Operation>> {
        let bare = self.bases.iter().filter_map(|base| template.strip_prefix(&**base));
        let templates = std::iter::once(template).chain(bare.filter(|rest| rest.starts_with('/')));
        let mut found = templates.filter_map(|template| {
            let number = self.index.get(&(method.into(), shape_of(template)))?;
            self.operations.get(*number)
        });
        found.next().or_else(|| (method == "HEAD").then(|| self.operation("GET", template)).flatten())
    }
}

/// A template without the names of its parameters.
fn shape_of(template: &str) -> Box<str> {
    let blank = |segment| if placeholder(segment).is_some() { "{}" } else { segment };
    template.split('/').map(blank).collect::<Vec<_>>().join("/").into()
}

/// The name of the parameter that a segment is.
pub(crate) fn placeholder(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.is_empty() && !name.contains(['{', '}'])).then_some(name)
}

/// The paths of the servers: what stands after the authority, without a trailing slash.
fn bases(document: &Document) -> Vec<Box<str>> {
    let servers = document.root.get("servers").and_then(Value::as_array);
    let urls = servers.into_iter().flatten().filter_map(|server| server.get("url")?.as_str());
    let path = |url: &str| -> Option<Box<str>> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = rest.find('/').and_then(|at| rest.get(at..))?.trim_end_matches('/');
        (!path.is_empty() && !path.contains(['{', '?', '#'])).then(|| path.into())
    };
    let mut all: Vec<Box<str>> = urls.take(64).filter_map(path).collect();
    all.sort_by_key(|base| std::cmp::Reverse(base.len()));
    all
}

impl<'d> Loader<'d> {
    fn path_item(&mut self, template: &'d str, item: &'d Value, out: &mut Vec<Operation>) {
        let pointer = step("#/paths", template);
        if template.starts_with("x-") {
            return;
        }
        if !template.starts_with('/') {
            return self.problem(&pointer, "a path starts with `/`");
        }
        let (item, pointer) = match self.document.follow(item, &pointer) {
            Ok(found) => found,
            Err(text) => return self.problem(&pointer, text),
        };
        for method in METHODS {
            if let Some(given) = item.get(method) {
                if out.len() == MOST_OPERATIONS {
                    return self.problem("#/paths", format!("has more than {MOST_OPERATIONS} operations"));
                }
                let parameters = self.parameters(item, given, &pointer, method);
                out.push(self.operation(method, template, given, parameters, &step(&pointer, method)));
            }
        }
    }

    /// The parameters of an operation; each overrides that of the path item with its name and place.
    fn parameters(
        &mut self,
        item: &'d Value,
        given: &'d Value,
        pointer: &str,
        method: &str,
    ) -> Vec<Parameter> {
        let mut all: Vec<Parameter> = Vec::new();
        for (owner, pointer) in [(given, step(pointer, method)), (item, pointer.to_owned())] {
            let below = step(&pointer, "parameters");
            let listed = owner.get("parameters").and_then(Value::as_array);
            for (number, each) in listed.into_iter().flatten().enumerate() {
                let Some(parameter) = self.parameter(each, &step(&below, &number.to_string())) else {
                    continue;
                };
                if all.iter().all(|known| (known.place, &known.name) != (parameter.place, &parameter.name)) {
                    all.push(parameter);
                }
            }
        }
        all
    }

    fn operation(
        &mut self,
        method: &str,
        template: &'d str,
        given: &'d Value,
        parameters: Vec<Parameter>,
        pointer: &str,
    ) -> Operation {
        let method = method.to_ascii_uppercase();
        let id = given.get("operationId").and_then(Value::as_str);
        let id = id.map_or_else(|| format!("{method} {template}"), str::to_owned).into();
        let body = given.get("requestBody").and_then(|body| self.body(body, &step(pointer, "requestBody")));
        let (mut query, mut headers, mut cookies, mut in_path) = (vec![], vec![], vec![], vec![]);
        for parameter in parameters {
            match parameter.place {
                Place::Path => in_path.push(parameter),
                Place::Query | Place::Body => query.push(parameter),
                Place::Header => headers.push(parameter),
                Place::Cookie => cookies.push(parameter),
            }
        }
        let path = self.in_order(template, in_path, pointer);
        let (credentials, security) = (self.credentials(), self.security(given));
        let (template, method, known) = (template.into(), method.into(), Arc::new(HashSet::new()));
        Operation { id, method, template, path, query, headers, cookies, credentials, body, security, known }
    }

    /// The parameters of a path in the order of the template.
    fn in_order(&mut self, template: &str, mut all: Vec<Parameter>, pointer: &str) -> Vec<Option<Parameter>> {
        let below = step(pointer, "parameters");
        let mut ordered = Vec::new();
        for segment in template.split('/') {
            if let Some(name) = placeholder(segment) {
                let found = all.iter().position(|parameter| *parameter.name == *name);
                if found.is_none() && self.problems.is_empty() {
                    self.problem(&below, format!("has no parameter for `{{{name}}}`"));
                }
                ordered.push(found.map(|at| all.swap_remove(at)));
            }
        }
        // What stands in a part of a segment is routed nowhere, so it is no mistake of the parameter.
        for left in all.iter().filter(|left| !template.contains(&format!("{{{}}}", left.name))) {
            let text = format!("the path parameter `{}` is not in the template", left.name);
            self.problem(&below, text);
        }
        ordered
    }

    /// Names of query parameters that carry credentials.
    fn credentials(&self) -> Vec<Box<str>> {
        let schemes = self.document.root.pointer("/components/securitySchemes").and_then(Value::as_object);
        let in_query = |scheme: &&Value| scheme.get("in").and_then(Value::as_str) == Some("query");
        let named = schemes.into_iter().flat_map(|all| all.values()).filter(in_query);
        named.filter_map(|scheme| Some(scheme.get("name")?.as_str()?.into())).collect()
    }

    fn security(&self, given: &Value) -> Security {
        let declared = given.get("security").or_else(|| self.document.root.get("security"));
        let Some(alternatives) = declared.and_then(Value::as_array) else { return Security::Undeclared };
        let is_open = |alternative: &Value| alternative.as_object().is_some_and(serde_json::Map::is_empty);
        if alternatives.is_empty() || alternatives.iter().any(is_open) {
            return Security::Public;
        }
        let scopes = |alternative: &Value| -> Vec<Box<str>> {
            let needs =
                alternative.as_object().into_iter().flatten().filter(|(name, _)| self.has_scopes(name));
            let lists = needs.filter_map(|(_, scopes)| scopes.as_array()).flatten();
            lists.filter_map(|scope| scope.as_str().map(Into::into)).collect()
        };
        Security::Scopes(alternatives.iter().map(scopes).collect())
    }

    /// Whether the list of a requirement holds scopes, and not roles (OpenAPI 3.1.1 §4.8.30).
    fn has_scopes(&self, scheme: &str) -> bool {
        let schemes = self.document.root.pointer("/components/securitySchemes");
        let given = schemes.and_then(|all| all.get(scheme));
        let kind = given.and_then(|given| self.document.follow(given, "").ok()?.0.get("type")?.as_str());
        matches!(kind, Some("oauth2" | "openIdConnect"))
    }
}
