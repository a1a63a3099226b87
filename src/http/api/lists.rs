//! The lists: one for each view, described from the columns and filters of the view.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::path::{
    OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths, PathsBuilder,
};
use utoipa::openapi::schema::{ArrayBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, ObjectBuilder, PathItem, Ref, Required, ResponseBuilder,
};
use utoipa_axum::router::UtoipaMethodRouter;

use super::super::admin::Admin;
use super::super::extract::{Json, Query};
use super::super::problem::Problem;
use crate::model::Timestamp;
use crate::store::{Column, Filter, Kind, Page, View};

/// Most rows of one page.
const MOST_ROWS: usize = 1000;
/// Rows of a page where nothing is said.
const ROWS: usize = 100;

/// Filters of a list, as they stand in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listed {
    group: Option<String>,
    topic: Option<String>,
    sender: Option<String>,
    rule: Option<String>,
    state: Option<String>,
    text: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    cursor: Option<i64>,
    limit: Option<usize>,
}

impl Listed {
    /// The rows of a view that are meant. A state that no row can have would be an empty list, which looks
    /// as if all were well.
    fn of(self, view: View) -> Result<Filter, Problem> {
        let known = view.states();
        match &self.state {
            Some(state) if !known.is_empty() && !known.contains(&state.as_str()) => {
                let why = format!("state {state:?}: is one of {}", known.join(", "));
                Err(Problem::new(StatusCode::BAD_REQUEST, why))
            }
            _ => self.filter(),
        }
    }

    /// The rows that are meant.
    pub(super) fn filter(self) -> Result<Filter, Problem> {
        let limit = self.limit.unwrap_or(ROWS);
        if !(1..=MOST_ROWS).contains(&limit) {
            let why = format!("limit lies between 1 and {MOST_ROWS}");
            return Err(Problem::new(StatusCode::BAD_REQUEST, why));
        }
        Ok(Filter {
            group: self.group,
            topic: self.topic,
            sender: self.sender,
            rule: self.rule,
            state: self.state,
            text: self.text,
            since: self.since.map(Timestamp),
            until: self.until.map(Timestamp),
            cursor: self.cursor,
            limit,
        })
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Rows {
    next: Option<i64>,
    rows: Vec<Value>,
}

impl From<Page> for Rows {
    fn from(page: Page) -> Self {
        Self { next: page.next, rows: page.objects() }
    }
}

/// How a list is described.
pub(super) struct Listing {
    pub(super) path: String,
    pub(super) operation: String,
    /// The name of a row's schema.
    pub(super) row: String,
    /// What a row is.
    pub(super) about: &'static str,
    pub(super) columns: &'static [Column],
    /// Each filter with what it is compared with.
    pub(super) filters: &'static [(&'static str, &'static str)],
}

/// The list of a view.
pub(super) fn list(view: View) -> UtoipaMethodRouter<Admin> {
    let listing = Listing {
        path: format!("/api/v1/{}", view.word()),
        operation: format!("list_{}", view.word()),
        row: row_name(view),
        about: view.about(),
        columns: view.columns(),
        filters: view.filters(),
    };
    listing.served(get(async move |State(admin): State<Admin>, Query(listed): Query<Listed>| {
        let page = admin.store.page(view, &listed.of(view)?).await?;
        Ok::<_, Problem>(Json(Rows::from(page)))
    }))
}

/// The name of the schema of a view's row.
pub(super) fn row_name(view: View) -> String {
    let (first, rest) = view.word().split_at(1);
    format!("{}{rest}Row", first.to_uppercase())
}

impl Listing {
    /// The description with the route that it is of.
    pub(super) fn served(self, route: MethodRouter<Admin>) -> UtoipaMethodRouter<Admin> {
        let mut row = ObjectBuilder::new().description(Some(self.about));
        for column in self.columns {
            row = row.property(column.name, column_schema(*column)).required(column.name);
        }
        let paths = self.described();
        (vec![(self.row, row.build().into())], paths, route)
    }

    fn described(&self) -> Paths {
        let rows = ArrayBuilder::new().items(Ref::from_schema_name(&self.row));
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
            .description(Some("The cursor of the next page; null at the end"));
        let page = ObjectBuilder::new()
            .property("rows", rows)
            .required("rows")
            .property("next", next)
            .required("next");
        let content = ContentBuilder::new().schema(Some(Schema::from(page.build()))).build();
        let response = ResponseBuilder::new()
            .description("A page of rows, newest first")
            .content("application/json", content);
        let operation = OperationBuilder::new()
            .tag("lists")
            .operation_id(Some(&self.operation))
            .summary(Some(format!("A list: each row is {}", self.about)))
            .parameters(Some(parameters(self.filters)))
            .response("200", response.build())
            .response("422", super::document::problem_response("A filter makes no sense here"));
        let item = PathItem::new(HttpMethod::Get, operation.build());
        PathsBuilder::new().path(&self.path, item).build()
    }
}

fn column_schema(column: Column) -> Schema {
    let kind = match column.kind {
        Kind::Integer => Type::Integer,
        Kind::Text => Type::String,
    };
    let kind = if column.nullable {
        SchemaType::from_iter([kind, Type::Null])
    } else {
        SchemaType::new(kind)
    };
    let about = (column.name == "at" || column.name.ends_with("_at"))
        .then_some("Milliseconds since 1970, UTC");
    ObjectBuilder::new().schema_type(kind).description(about).build().into()
}

fn parameters(filters: &[(&str, &str)]) -> Vec<Parameter> {
    let parameter = |name: &str, about: &str, schema: ObjectBuilder| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(about))
            .schema(Some(Schema::from(schema.build())))
            .build()
    };
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let number = || ObjectBuilder::new().schema_type(Type::Integer).format(Some(INT64));
    let mut parameters: Vec<_> = filters
        .iter()
        .map(|(name, what)| parameter(name, &format!("Only rows with this: {what}"), text()))
        .collect();
    parameters.extend([
        parameter("since", "Only rows of that moment or later, in milliseconds", number()),
        parameter("until", "Only rows of earlier moments, in milliseconds", number()),
        parameter("cursor", "Where the page before ended: its `next`", number()),
        parameter(
            "limit",
            "Rows of this page",
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(MOST_ROWS))
                .default(Some(ROWS.into())),
        ),
    ]);
    parameters
}

const INT64: utoipa::openapi::SchemaFormat =
    utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::Int64);
