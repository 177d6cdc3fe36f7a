// node-postgres: text protocol, parameters, a cursor by row limits, typed errors, cancel by timeout.
const assert = require('node:assert');
const { Client } = require('pg');
const Query = require('pg').Query;

async function main() {
  const client = new Client({ connectionString: process.env.TEST_URL });
  await client.connect();

  const types = await client.query("SELECT 1 AS a, 'x' AS b, true AS c, 1.5::float8 AS d, NULL AS e, date '2026-11-20' AS f");
  assert.deepStrictEqual([types.rows[0].a, types.rows[0].b, types.rows[0].c, types.rows[0].d, types.rows[0].e], [1, 'x', true, 1.5, null]);
  assert.strictEqual(types.rows[0].f.getFullYear(), 2026);

  const one = await client.query('SELECT r_name FROM region WHERE r_regionkey = $1', [0]);
  assert.deepStrictEqual(one.rows, [{ r_name: 'AFRICA' }]);
  for (let key = 0; key < 5; key++) {
    const named = await client.query({ name: 'by-key', text: 'SELECT r_regionkey FROM region WHERE r_regionkey = $1', values: [key] });
    assert.strictEqual(Number(named.rows[0].r_regionkey), key);
  }

  // A portal read in pieces: Execute with a row limit, PortalSuspended, Execute again.
  const query = new Query({
    text: 'SELECT a.value FROM generate_series(1, 1000) AS a(value), generate_series(1, 1000) AS b(value) WHERE a.value > $1',
    values: [0], rows: 5000,
  });
  let rows = 0;
  query.on('row', () => { rows += 1; });
  await new Promise((resolve, reject) => { query.on('end', resolve); query.on('error', reject); client.query(query); });
  assert.strictEqual(rows, 1000000);

  await assert.rejects(client.query('SELECT * FROM nothing_here'), (error) => error.code === '42P01' && /code=undefined_table/.test(error.detail));
  await assert.rejects(client.query('SELECT $1::int', ['x']), (error) => error.code === '22P02');

  await client.query("SET statement_timeout = '200ms'");
  await assert.rejects(
    client.query('SELECT count(*) FROM lineitem a, lineitem b, lineitem c WHERE a.l_comment > b.l_comment || c.l_comment'),
    (error) => error.code === '57014');
  assert.strictEqual((await client.query('SELECT 2 AS two')).rows[0].two, 2);
  await client.end();
}

main().catch((error) => { console.error(error); process.exit(1); });
