//! Does a request follow its OpenAPI document? The only room that knows JSON Schema.
