//! Where the session is: schemas, encodings, roles. Its user and database are session values of the engine's own, which
//! every query may call.

use weir_model::{Code, Refusal};

use super::{Cell, Definition, Objects, argument, oid, text};
use crate::catalog::{cluster, layout::Shape};

pub(super) const ALL: &[Definition] = &[
    Definition::strict(&["current_schemas"], Shape::Texts, |objects, arguments| {
        let implicit = argument(arguments, 0).bool().unwrap_or(false);
        Ok(Cell::Texts(objects.searched(implicit).into_iter().map(str::to_owned).collect()))
    }),
    Definition::lax(&["pg_is_in_recovery"], Shape::Bool, |_, _| Ok(false.into())),
    Definition::lax(&["pg_is_wal_replay_paused"], Shape::Bool, |_, _| Ok(false.into())),
    Definition::lax(&["pg_my_temp_schema"], Shape::Int8, |_, _| Ok(0.into())),
    Definition::strict(&["pg_is_other_temp_schema"], Shape::Bool, |_, _| Ok(false.into())),
    // The engine's own takes literal names only; clients ask of parameters and of pg_settings' rows.
    Definition::strict(&["current_setting"], Shape::Text, current_setting),
    Definition::lax(&["set_config"], Shape::Text, |objects, arguments| {
        let current = current_setting(objects, arguments.get(..1).unwrap_or_default())?;
        if text(std::slice::from_ref(&current), 0).eq_ignore_ascii_case(text(arguments, 1)) {
            return Ok(current);
        }
        Err(Refusal::unsupported("set_config()").hint("change the setting with SET"))
    }),
    // There are no advisory locks, so none is left when this is done.
    Definition::lax(&["pg_advisory_unlock_all"], Shape::Text, |_, _| Ok("".into())),
    Definition::lax(&["getdatabaseencoding"], Shape::Text, |_, _| Ok("UTF8".into())),
    Definition::lax(&["pg_client_encoding"], Shape::Text, |_, _| Ok("UTF8".into())),
    Definition::strict(&["pg_encoding_to_char"], Shape::Text, |_, arguments| {
        let known = argument(arguments, 0).int() == Some(i64::from(cluster::UTF8));
        Ok(if known { "UTF8" } else { "" }.into())
    }),
    Definition::strict(&["pg_char_to_encoding"], Shape::Int4, |_, arguments| {
        let name = text(arguments, 0).to_ascii_lowercase().replace(['-', '_'], "");
        Ok(if matches!(name.as_str(), "utf8" | "unicode") { cluster::UTF8 } else { -1 }.into())
    }),
    Definition::strict(&["pg_get_userbyid"], Shape::Text, |objects, arguments| {
        let role = oid(arguments, 0).and_then(|oid| objects.role(oid));
        let unknown = || format!("unknown (OID={})", argument(arguments, 0).int().unwrap_or(0));
        Ok(role.map_or_else(unknown, |role| role.name.clone()).into())
    }),
    Definition::strict(&["pg_tablespace_location"], Shape::Text, |_, _| Ok("".into())),
];

fn current_setting(objects: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let name = text(arguments, 0);
    match objects.session.settings.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        Some((_, value)) => Ok(value.as_str().into()),
        None if argument(arguments, 1).bool() == Some(true) => Ok(Cell::Null),
        None => Err(Refusal::new(Code::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))),
    }
}
