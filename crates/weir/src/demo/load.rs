use std::{path::Path, sync::Arc, thread};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::cast,
    datatypes::{Field, Schema},
};
use tokio::sync::mpsc;
use weir_model::{Claims, ClientAddress, OrgName};
use weir_pipeline::{Column, CopyIn, DataPlane, Reply, Session};

use super::{
    marker::Marker,
    progress::Progress,
    tables::{DemoTable, TABLES},
};
use crate::{failure::Failure, keys::own_identity};

const ORG: &str = "acme";
const AGENT: &str = "admin";
/// Batches generated ahead of the writing.
const AHEAD: usize = 4;

/// Loads the tables that are not loaded yet, as the agent `admin` of org `acme`, gate by gate like any other. A table
/// whose load was interrupted is loaded again from its beginning.
///
/// # Errors
/// What a statement was refused with, and tables of these names that somebody else made.
pub(crate) async fn load(plane: &Arc<DataPlane>, data: &Path, scale: f64) -> Result<(), Failure> {
    let marker = Marker::read(data)?;
    if let Some(marker) = &marker
        && TABLES.iter().all(|table| marker.has(table.name))
    {
        return Ok(());
    }
    let claims = Claims { application_name: Some("weir demo".into()), ..Claims::default() };
    let identity = own_identity(OrgName::new(ORG)?, AGENT, Vec::new());
    let mut session = plane.connect(identity, claims, ClientAddress::Local).await?;
    let mut marker = match marker {
        Some(marker) => marker,
        None => {
            refuse_foreign_tables(&mut session).await?;
            Marker::begin(data, scale)?
        }
    };
    let scale = marker.scale;
    let missing: Vec<DemoTable> = TABLES.into_iter().filter(|table| !marker.has(table.name)).collect();
    let progress = Progress::start(missing.iter().map(|table| table.rows(scale)).sum())?;
    for table in missing {
        progress.table(table.name);
        run(&mut session, &format!("DROP TABLE IF EXISTS public.{}", table.name)).await?;
        run(&mut session, &table.create()).await?;
        let mut rows = 0;
        for part in 1..=table.parts(scale) {
            rows += copy(&mut session, table, (scale, part), &progress).await?;
        }
        marker.add(table.name)?;
        progress.loaded(table.name, rows);
    }
    Ok(())
}

/// Nothing is dropped that this load did not make.
async fn refuse_foreign_tables(session: &mut Session) -> Result<(), Failure> {
    for table in TABLES {
        let parsed = session.parse(&format!("SELECT 1 FROM public.{}", table.name)).await?;
        for statement in parsed {
            if session.prepare(statement, Vec::new()).await.is_ok() {
                let what =
                    format!("org {ORG} has a table named `{}` already, which the demo would replace", table.name);
                return Err(Failure::new(what).hint("give the demo a data folder of its own with --data"));
            }
        }
    }
    Ok(())
}

async fn run(session: &mut Session, text: &str) -> Result<Option<Reply>, Failure> {
    let mut last = None;
    for statement in session.parse(text).await? {
        last = Some(session.run(&statement).await?);
    }
    Ok(last)
}

/// Generates one part on a thread of its own and copies it in. Returns the number of rows.
async fn copy(
    session: &mut Session,
    table: DemoTable,
    (scale, part): (f64, i32),
    progress: &Progress,
) -> Result<u64, Failure> {
    let Some(Reply::CopyIn(mut target)) = run(session, &format!("COPY public.{} FROM STDIN", table.name)).await? else {
        return Err(Failure::new("COPY FROM STDIN does not ask for rows"));
    };
    let (send, mut batches) = mpsc::channel(AHEAD);
    let generator = thread::Builder::new().name("weir-demo".into()).spawn(move || {
        for batch in (table.part)(scale, part, table.parts(scale)) {
            if send.blocking_send(batch).is_err() {
                return;
            }
        }
    })?;
    let mut rows = 0;
    let pushed = async {
        while let Some(batch) = batches.recv().await {
            let batch = conform(&batch?, &target)?;
            let count = batch.num_rows() as u64;
            target.push(batch).await?;
            rows += count;
            progress.rows(count);
        }
        Ok::<_, Failure>(())
    }
    .await;
    drop(batches);
    if generator.join().is_err() {
        return Err(target
            .fail(session, CopyIn::client_gave_up("the generator of the demo's rows failed"))
            .await
            .into());
    }
    match pushed {
        Ok(()) => {
            target.finish(session).await?;
            Ok(rows)
        }
        Err(failure) => {
            target.fail(session, CopyIn::client_gave_up("the load of the demo ended")).await;
            Err(failure)
        }
    }
}

/// The batch in the types that the table's columns have.
fn conform(batch: &RecordBatch, target: &CopyIn) -> Result<RecordBatch, Failure> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (array, Column { name, value_type, .. }) in batch.columns().iter().zip(target.columns().iter()) {
        let Some(column_type) = value_type.scalar() else { return Err(Failure::new("a column holds arrays")) };
        let data_type = weir_store::arrow_type(column_type);
        arrays.push(cast(array, &data_type)?);
        fields.push(Field::new(name, data_type, true));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
