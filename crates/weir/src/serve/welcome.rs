use std::{fmt::Write, net::SocketAddr, path::Path};

use crate::{config::Config, demo::EnvFile, local::STARTER_ORG};

/// What a person who started Weir does next.
pub(super) fn text(
    config: &Config,
    sql: SocketAddr,
    http: SocketAddr,
    demo: Option<&EnvFile>,
    sockets: Option<&Path>,
) -> String {
    let data = config.data.display();
    let policies = config.policies_dir();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Weir is up. SQL on {sql}, health and metrics on http://{http}, data in {data}.\n");
    match demo {
        Some(env) => demo_steps(&mut text, env, &data.to_string(), &policies.display().to_string(), sockets),
        None => {
            let _ = write!(
                text,
                "Give an agent a key, and connect with it:\n\
                 \n\
                 \x20 weir keys issue --data {data} --org {STARTER_ORG} --agent me --role admin\n\
                 \x20 psql \"postgres://me@{sql}/{STARTER_ORG}\"\n\
                 \n\
                 Who may do what stands in {}; a saved change is in force within a second.\n\
                 `weir up --demo` shows a policy at work on data.\n",
                policies.display()
            );
        }
    }
    text
}

fn demo_steps(text: &mut String, env: &EnvFile, data: &str, policies: &str, sockets: Option<&Path>) {
    let url = |name: &str| env.url(name).unwrap_or_default();
    let _ = write!(
        text,
        "Two agents, one database:\n\
         \n\
         \x20 ANALYST_EU  {}\n\
         \x20 ANALYST_US  {}\n\
         \n\
         All eight are in {env}; this takes them into a shell:\n\
         \n\
         \x20 set -a; . {env}; set +a\n\
         \n\
         The same question, other rows; a masked column; a refusal and why; what the journal says:\n\
         \n\
         \x20 psql \"$ANALYST_EU_URL\" -c \"SELECT count(*), sum(o_totalprice) FROM orders\"\n\
         \x20 psql \"$ANALYST_US_URL\" -c \"SELECT count(*), sum(o_totalprice) FROM orders\"\n\
         \x20 psql \"$SUPPORT_URL\" -c \"SELECT c_custkey, c_name, c_phone, c_acctbal FROM customer LIMIT 3\"\n\
         \x20 psql \"$SUPPORT_URL\" -c \"SELECT c_custkey FROM customer WHERE c_name = 'Customer#000000001'\"\n\
         \x20 psql \"$AUDITOR_URL\" -c \"SELECT * FROM weir.audit LIMIT 5\"\n\
         \x20 weir audit verify {data}\n\
         \n\
         The policies are yours to edit in {policies}; a saved change is in force within a second.\n",
        url("ANALYST_EU"),
        url("ANALYST_US"),
        env = env.path().display(),
    );
    if let Some(sockets) = sockets {
        let _ = write!(
            text,
            "\n\
             A change that two senior engineers have to approve: refused, approved for an hour by a service, done:\n\
             \n\
             \x20 psql \"$OPERATOR_URL\" -c \"UPDATE orders SET o_comment = 'corrected' WHERE o_orderkey = 1\"\n\
             \x20 curl --unix-socket {socket} -X PUT \"http://weir/data/approvals.operator.orders?ttl=3600\" \\\n\
             \x20      -H \"Authorization: Bearer $DEPLOYMENT_SERVICE_TOKEN\" \\\n\
             \x20      -d '{{\"approvers\": [{{\"user\": \"alice\", \"role\": \"senior_engineer\"}},\n\
             \x20                          {{\"user\": \"bob\", \"role\": \"senior_engineer\"}}]}}'\n\
             \x20 psql \"$OPERATOR_URL\" -c \"UPDATE orders SET o_comment = 'corrected' WHERE o_orderkey = 1\"\n\
             \x20 weir facts status --data {data}\n",
            socket = sockets.join("data.sock").display(),
        );
    }
}
