//! The entities that rules speak of: agents in roles, tables in schemas in their org, actions in groups.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use weir_model::{Action, AttributeValue, ObjectName, Principal};

use crate::bundle::BundleBody;

pub(crate) const AGENT: &str = "Agent";
pub(crate) const ROLE: &str = "Role";
pub(crate) const ACTION: &str = "Action";
pub(crate) const TABLE: &str = "Table";
pub(crate) const SCHEMA: &str = "Schema";
pub(crate) const ORG: &str = "Org";
pub(crate) const TYPES: [&str; 6] = [AGENT, ROLE, ACTION, TABLE, SCHEMA, ORG];

/// Names for several actions at once: `action in Action::"write"`.
pub(crate) const GROUPS: [(&str, &[Action]); 3] = [
    ("read", &[Action::Select]),
    ("write", &[Action::Insert, Action::Update, Action::Delete, Action::Truncate]),
    ("define", &[Action::Create, Action::Drop]),
];

/// The entities' types parsed once, and the entities that do not depend on a request.
#[derive(Debug)]
pub(crate) struct World {
    agent: EntityTypeName,
    role: EntityTypeName,
    action: EntityTypeName,
    table: EntityTypeName,
    schema: EntityTypeName,
    org: EntityUid,
    actions: Vec<Entity>,
}

impl World {
    pub fn new(body: &BundleBody) -> Result<World, String> {
        let type_name = |name: &str| name.parse::<EntityTypeName>().map_err(|error| error.to_string());
        let action = type_name(ACTION)?;
        let mut actions = Vec::new();
        for (group, members) in GROUPS {
            let group = uid(&action, group);
            actions.push(Entity::new_no_attrs(group.clone(), HashSet::new()));
            for member in members {
                actions.push(Entity::new_no_attrs(uid(&action, member.as_str()), HashSet::from([group.clone()])));
            }
        }
        Ok(World {
            agent: type_name(AGENT)?,
            role: type_name(ROLE)?,
            action,
            table: type_name(TABLE)?,
            schema: type_name(SCHEMA)?,
            org: uid(&type_name(ORG)?, body.org.as_str()),
            actions,
        })
    }

    pub fn agent(&self, name: &str) -> EntityUid {
        uid(&self.agent, name)
    }

    pub fn action(&self, action: Action) -> EntityUid {
        uid(&self.action, action.as_str())
    }

    pub fn table(&self, object: &ObjectName) -> EntityUid {
        uid(&self.table, &object.to_string())
    }

    /// Everything one decision can see: the principal with its attributes, the roles it holds, the object and what it
    /// lies in, the actions.
    pub fn entities(&self, body: &BundleBody, principal: &Principal, object: &ObjectName) -> Result<Entities, String> {
        let mut entities = self.actions.clone();
        let roles = |names: &[String]| names.iter().map(|name| uid(&self.role, name)).collect::<HashSet<_>>();
        for name in &principal.roles {
            let inherits = body.roles.get(name).map(|role| roles(&role.inherits)).unwrap_or_default();
            entities.push(Entity::new_no_attrs(uid(&self.role, name), inherits));
        }
        let attributes: HashMap<_, _> =
            principal.attributes.iter().map(|(name, value)| (name.clone(), expression(value))).collect();
        let agent = Entity::new(self.agent(&principal.agent), attributes, roles(&principal.roles));
        entities.push(agent.map_err(|error| error.to_string())?);
        let schema = uid(&self.schema, object.schema());
        entities.push(Entity::new_no_attrs(self.org.clone(), HashSet::new()));
        entities.push(Entity::new_no_attrs(schema.clone(), HashSet::from([self.org.clone()])));
        entities.push(Entity::new_no_attrs(self.table(object), HashSet::from([schema])));
        Entities::from_entities(entities, None).map_err(|error| error.to_string())
    }
}

fn uid(entity_type: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(entity_type.clone(), EntityId::new(name))
}

fn expression(value: &AttributeValue) -> RestrictedExpression {
    match value {
        AttributeValue::Bool(value) => RestrictedExpression::new_bool(*value),
        AttributeValue::Integer(value) => RestrictedExpression::new_long(*value),
        AttributeValue::Text(value) => RestrictedExpression::new_string(value.clone()),
        AttributeValue::List(values) => {
            RestrictedExpression::new_set(values.iter().cloned().map(RestrictedExpression::new_string))
        }
    }
}
