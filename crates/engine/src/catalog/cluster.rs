//! What stands above and beside the tables: schemas, types, databases, roles, settings, sessions.
//!
//! Everywhere the principal's own: one database (its org), itself and the roles it holds, its own session.

use arrow::{array::RecordBatch, error::ArrowError};

use super::{
    layout::Layout,
    objects::{BTREE, DEFAULT_TABLESPACE, HEAP, Objects, PG_CATALOG},
    rows::{Cell, Rows},
    types,
};

type Built = Result<RecordBatch, ArrowError>;

/// PostgreSQL's number for UTF8.
pub(crate) const UTF8: i32 = 6;
pub(crate) const COLLATION: &str = "C.UTF-8";

pub(crate) fn namespace(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for namespace in &objects.namespaces {
        rows.push([
            ("oid", namespace.oid.into()),
            ("nspname", namespace.name.as_str().into()),
            ("nspowner", namespace.owner.into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn pg_type(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for each in types::all() {
        let [input, output, receive, send] = each.functions;
        rows.push([
            ("oid", each.oid.into()),
            ("typname", each.name.as_str().into()),
            ("typnamespace", PG_CATALOG.into()),
            ("typowner", objects.owner_oid().into()),
            ("typlen", each.length.into()),
            ("typbyval", each.by_value.into()),
            ("typtype", each.kind.into()),
            ("typcategory", each.category.into()),
            ("typispreferred", each.preferred.into()),
            ("typisdefined", true.into()),
            ("typdelim", if each.name.ends_with("box") { ";" } else { "," }.into()),
            ("typsubscript", if each.category == "A" { "array_subscript_handler" } else { "-" }.into()),
            ("typelem", each.element.into()),
            ("typarray", each.array.into()),
            ("typinput", input.into()),
            ("typoutput", output.into()),
            ("typreceive", receive.into()),
            ("typsend", send.into()),
            ("typalign", each.align.into()),
            ("typstorage", each.storage.into()),
            ("typtypmod", (-1).into()),
            ("typcollation", each.collation.into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn database(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    rows.push([
        ("oid", objects.database_oid().into()),
        ("datname", objects.session.database.as_str().into()),
        ("datdba", objects.owner_oid().into()),
        ("encoding", UTF8.into()),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", (-1).into()),
        ("dattablespace", DEFAULT_TABLESPACE.into()),
        ("datcollate", COLLATION.into()),
        ("datctype", COLLATION.into()),
    ]);
    rows.finish()
}

pub(crate) fn tablespace(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    rows.push([
        ("oid", DEFAULT_TABLESPACE.into()),
        ("spcname", "pg_default".into()),
        ("spcowner", objects.owner_oid().into()),
    ]);
    rows.finish()
}

/// Nobody is a superuser: the policy binds the owner as it binds the others.
pub(crate) fn roles(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for role in &objects.roles {
        rows.push([
            ("rolname", Cell::from(role.name.as_str())),
            ("rolsuper", false.into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", false.into()),
            ("rolcreatedb", false.into()),
            ("rolcanlogin", role.can_login.into()),
            ("rolreplication", false.into()),
            ("rolconnlimit", (-1).into()),
            ("rolpassword", "********".into()),
            ("rolbypassrls", false.into()),
            ("oid", role.oid.into()),
        ]);
    }
    rows.finish()
}

/// Who is a member of what, by oid: the principal, of each role that it holds.
fn memberships(objects: &Objects) -> impl Iterator<Item = (u32, u32)> {
    let user = objects.user_oid();
    let held = |name: &String| objects.session.roles.contains(name);
    objects.roles.iter().filter(move |role| role.oid != user && held(&role.name)).map(move |role| (user, role.oid))
}

pub(crate) fn auth_members(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (member, role) in memberships(objects) {
        rows.push([
            ("roleid", role.into()),
            ("member", member.into()),
            ("grantor", objects.owner_oid().into()),
            ("admin_option", false.into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn group(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for role in objects.roles.iter().filter(|role| !role.can_login) {
        let members = memberships(objects).filter(|(_, held)| *held == role.oid).map(|(member, _)| i64::from(member));
        rows.push([
            ("groname", Cell::from(role.name.as_str())),
            ("grosysid", role.oid.into()),
            ("grolist", members.collect::<Vec<_>>().into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn user(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for role in objects.roles.iter().filter(|role| role.can_login) {
        rows.push([
            ("usename", Cell::from(role.name.as_str())),
            ("usesysid", role.oid.into()),
            ("usecreatedb", false.into()),
            ("usesuper", false.into()),
            ("userepl", false.into()),
            ("usebypassrls", false.into()),
            ("passwd", "********".into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn access_method(layout: &'static Layout, _: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (oid, name, handler, kind) in [(HEAP, "heap", "heap_tableam_handler", "t"), (BTREE, "btree", "bthandler", "i")]
    {
        rows.push([
            ("oid", oid.into()),
            ("amname", name.into()),
            ("amhandler", handler.into()),
            ("amtype", kind.into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn collation(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (oid, name, provider, locale) in [
        (types::DEFAULT_COLLATION, "default", "d", None),
        (950, "C", "c", Some("C")),
        (951, "POSIX", "c", Some("POSIX")),
    ] {
        rows.push([
            ("oid", oid.into()),
            ("collname", name.into()),
            ("collnamespace", PG_CATALOG.into()),
            ("collowner", objects.owner_oid().into()),
            ("collprovider", provider.into()),
            ("collisdeterministic", true.into()),
            ("collencoding", (-1).into()),
            ("collcollate", Cell::from(locale)),
            ("collctype", locale.into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn language(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (oid, name, trusted) in [(12, "internal", false), (14, "sql", true)] {
        rows.push([
            ("oid", Cell::from(oid)),
            ("lanname", name.into()),
            ("lanowner", objects.owner_oid().into()),
            ("lanpltrusted", trusted.into()),
        ]);
    }
    rows.finish()
}

/// The settings that `SHOW` answers, all of them text to a client.
pub(crate) fn settings(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (name, value) in &objects.session.settings {
        rows.push([
            ("name", Cell::from(name.as_str())),
            ("setting", value.as_str().into()),
            ("category", "Weir".into()),
            ("context", "user".into()),
            ("vartype", "string".into()),
            ("source", "session".into()),
            ("reset_val", value.as_str().into()),
            ("pending_restart", false.into()),
        ]);
    }
    rows.finish()
}

/// Keywords of the parser; all count as unreserved, since it decides by place.
pub(crate) fn keywords(layout: &'static Layout, _: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for word in sqlparser::keywords::ALL_KEYWORDS {
        rows.push([
            ("word", word.to_ascii_lowercase().into()),
            ("catcode", "U".into()),
            ("barelabel", true.into()),
            ("catdesc", "unreserved".into()),
            ("baredesc", "can be bare label".into()),
        ]);
    }
    rows.finish()
}

/// The session itself, and no other.
pub(crate) fn activity(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    rows.push([
        ("datid", objects.database_oid().into()),
        ("datname", objects.session.database.as_str().into()),
        ("pid", objects.session.process_id.into()),
        ("usesysid", objects.user_oid().into()),
        ("usename", objects.session.user.as_str().into()),
        ("application_name", objects.session.application_name.as_str().into()),
        ("state", "active".into()),
        ("backend_type", "client backend".into()),
    ]);
    rows.finish()
}
