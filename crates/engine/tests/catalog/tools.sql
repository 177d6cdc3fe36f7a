-- DBeaver namespaces
SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname
-- any rows

-- DBeaver database
SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datname='acme'
-- any rows

-- DBeaver types
SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')
-- any rows

-- any rows

-- DBeaver tables
SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass WHERE c.relnamespace='sales'::regnamespace AND c.relkind not in ('i','I','c')
-- any rows

-- DBeaver columns
SELECT c.relname,a.attname,a.attnum,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND a.attnum > 0 AND c.oid='sales.orders'::regclass ORDER BY a.attnum
-- rows
orders|id|1|||
orders|region|2|||
orders|amount|3|0||
orders|note|4|||

-- DBeaver constraints
SELECT c.conname,c.contype,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description, case when c.contype='c' then "substring"(pg_get_constraintdef(c.oid), 7) else null end consrc_copy FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass WHERE c.conrelid={sales.orders} ORDER BY c.oid
-- rows
orders_pkey|p|orders|||

-- DBeaver indexes
SELECT i.indkey as keys,c.relname,tc.relname as tabrelname,dsc.description,pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr,pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) as expr FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid=i.indrelid LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid=dsc.objoid WHERE i.indrelid={sales.orders} ORDER BY tabrelname, c.relname
-- rows
1 2|orders_pkey|orders|||

-- DBeaver sizes
select c.oid,pg_catalog.pg_total_relation_size(c.oid) as total_rel_size,pg_catalog.pg_relation_size(c.oid) as rel_size FROM pg_class c WHERE c.relnamespace='sales'::regnamespace
-- any rows

-- DBeaver extension tables
SELECT e.oid, cfg.tbloid FROM (SELECT oid, unnest(extconfig) tbloid FROM pg_extension) cfg JOIN pg_extension e ON e.oid = cfg.oid WHERE e.extname <> 'plpgsql'
-- rows

-- DBeaver roles
SELECT a.oid,a.*,pd.description FROM pg_catalog.pg_roles a left join pg_catalog.pg_shdescription pd on a.oid = pd.objoid ORDER BY a.rolname
-- any rows

-- psycopg type
SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS delimiter FROM pg_type t WHERE t.oid = to_regtype('int4') ORDER BY t.oid
-- rows
int4|23|1007|integer|,

-- psycopg unknown type
SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS delimiter FROM pg_type t WHERE t.oid = to_regtype('hstore') ORDER BY t.oid
-- rows

-- psycopg enumeration
SELECT name, oid, array_oid, array_agg(label) AS labels FROM (SELECT t.typname AS name, t.oid AS oid, t.typarray AS array_oid, e.enumlabel AS label FROM pg_type t LEFT JOIN pg_enum e ON e.enumtypid = t.oid WHERE t.oid = to_regtype('mood') ORDER BY e.enumsortorder) x GROUP BY name, oid, array_oid
-- rows

-- psycopg2 hstore
SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore'
-- rows

-- tokio-postgres type
SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid INNER JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = 1015
-- rows
_varchar|b|1043||0|pg_catalog|0

-- pgcli tables
SELECT n.nspname schema_name, c.relname table_name FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = ANY('{r,p,f}') AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' ORDER BY 1,2
-- rows
public|every_type
sales|Odd Name
sales|orders

-- pgcli columns
SELECT nsp.nspname schema_name, cls.relname table_name, att.attname column_name, att.atttypid::regtype::text type_name, att.atthasdef AS has_default, pg_catalog.pg_get_expr(def.adbin, def.adrelid, true) as default FROM pg_catalog.pg_attribute att INNER JOIN pg_catalog.pg_class cls ON att.attrelid = cls.oid INNER JOIN pg_catalog.pg_namespace nsp ON cls.relnamespace = nsp.oid LEFT OUTER JOIN pg_attrdef def ON def.adrelid = att.attrelid AND def.adnum = att.attnum WHERE cls.relkind = ANY('{v,m}') AND NOT att.attisdropped AND att.attnum > 0 AND nsp.nspname = 'sales' ORDER BY 1, 2, att.attnum
-- rows
sales|big_orders|id|bigint|f|
sales|big_orders|amount|numeric|f|

-- pgcli foreign keys
SELECT s_p.nspname AS parentschema, t_p.relname AS parenttable, unnest(( select array_agg(attname ORDER BY i) from (select unnest(confkey) as attnum, generate_subscripts(confkey, 1) as i) x JOIN pg_catalog.pg_attribute c USING(attnum) WHERE c.attrelid = fk.confrelid )) AS parentcolumn, s_c.nspname AS childschema, t_c.relname AS childtable FROM pg_catalog.pg_constraint fk JOIN pg_catalog.pg_class t_p ON t_p.oid = fk.confrelid JOIN pg_catalog.pg_namespace s_p ON s_p.oid = t_p.relnamespace JOIN pg_catalog.pg_class t_c ON t_c.oid = fk.conrelid JOIN pg_catalog.pg_namespace s_c ON s_c.oid = t_c.relnamespace WHERE fk.contype = 'f'
-- rows

-- pgcli types
SELECT n.nspname schema_name, t.typname type_name FROM pg_catalog.pg_type t INNER JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE ( t.typrelid = 0 OR ( SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid ) ) AND NOT EXISTS( SELECT 1 FROM pg_catalog.pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid ) AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' ORDER BY 1, 2
-- rows

-- Django tables
SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid)
-- rows
every_type|t|
v|v|

-- Rails columns
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment, attidentity, attgenerated FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"sales"."orders"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
-- rows
id|bigint||t|20|-1||||
region|text||t|25|-1||||
amount|numeric(12,2)|0|f|1700|786438||||
note|character varying(40)||f|1043|44||||

-- Rails primary key
SELECT a.attname FROM ( SELECT indrelid, indkey, generate_subscripts(indkey, 1) idx FROM pg_index WHERE indrelid = '"sales"."orders"'::regclass AND indisprimary ) i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[i.idx] ORDER BY i.idx
-- rows
id
region

-- Metabase tables
SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END AS type, d.description AS description FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid LEFT JOIN pg_catalog.pg_description AS d ON c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass LEFT JOIN pg_stat_user_tables AS stat ON n.nspname = stat.schemaname AND c.relname = stat.relname WHERE c.relnamespace = n.oid AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'f', 'm') ORDER BY type, schema, name
-- rows
public|every_type|TABLE|
sales|Odd Name|TABLE|
sales|orders|TABLE|
public|v|VIEW|
sales|big_orders|VIEW|

-- dbt relations
select 'acme' as database, tablename as name, schemaname as schema, 'table' as type from pg_tables where schemaname ilike 'sales' union all select 'acme' as database, viewname as name, schemaname as schema, 'view' as type from pg_views where schemaname ilike 'sales' union all select 'acme' as database, matviewname as name, schemaname as schema, 'materialized_view' as type from pg_matviews where schemaname ilike 'sales'
-- rows
acme|orders|sales|table
acme|Odd Name|sales|table
acme|big_orders|sales|view

-- information schema tables
SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2
-- rows
public|every_type|BASE TABLE
public|v|VIEW
sales|Odd Name|BASE TABLE
sales|big_orders|VIEW
sales|orders|BASE TABLE

-- information schema columns
SELECT column_name, ordinal_position, column_default, is_nullable, data_type, character_maximum_length, numeric_precision, numeric_precision_radix, numeric_scale, datetime_precision, udt_name FROM information_schema.columns WHERE table_name = 'every_type' ORDER BY ordinal_position
-- rows
b|1||YES|boolean||||||bool
si|2||YES|smallint||16|2|0||int2
i|3|7|NO|integer||32|2|0||int4
bi|4||YES|bigint||64|2|0||int8
r|5||YES|real||24|2|||float4
d|6||YES|double precision||53|2|||float8
n|7||YES|numeric||15|10|2||numeric
nn|8||YES|numeric||38|10|10||numeric
t|9||NO|text||||||text
v|10||YES|character varying|25|||||varchar
by|11||YES|bytea||||||bytea
da|12||YES|date|||||0|date
ti|13||YES|time without time zone|||||6|time
ts|14||YES|timestamp without time zone|||||6|timestamp
tz|15|now()|YES|timestamp with time zone|||||6|timestamptz
iv|16||YES|interval|||||6|interval
u|17||YES|uuid||||||uuid
j|18||YES|json||||||json
jb|19||YES|jsonb||||||jsonb

-- information schema keys
SELECT tc.table_schema, tc.constraint_name, tc.table_name, kcu.column_name, kcu.ordinal_position FROM information_schema.table_constraints AS tc JOIN information_schema.key_column_usage AS kcu ON tc.constraint_name = kcu.constraint_name AND tc.table_schema = kcu.table_schema WHERE tc.constraint_type = 'PRIMARY KEY' ORDER BY 1, 2, 5
-- rows of the org
sales|Odd Name_pkey|Odd Name|Key|1
sales|orders_pkey|orders|id|1
sales|orders_pkey|orders|region|2

-- information schema schemata
SELECT catalog_name, schema_name, schema_owner FROM information_schema.schemata WHERE schema_name NOT LIKE 'pg_%' ORDER BY schema_name
-- rows
acme|information_schema|admin
acme|public|admin
acme|sales|admin

-- names of oids
SELECT 'sales.orders'::regclass, 'sales."Odd Name"'::regclass::text, 'every_type'::regclass::text, 'pg_class'::regclass::oid, 'integer'::regtype, 'int4[]'::regtype::oid, 'sales'::regnamespace::text, 0::oid::regclass, to_regclass('nothing'), to_regtype('text')
-- rows
sales.orders|sales."Odd Name"|every_type|1259|integer|1007|sales|-||text

-- names in a where
SELECT relname FROM pg_class WHERE oid = 'sales.orders'::regclass OR oid IN ('every_type'::regclass, 'v'::regclass) ORDER BY 1
-- rows
every_type
orders
v

-- definitions
SELECT pg_get_indexdef(indexrelid), pg_get_indexdef(indexrelid, 2, true), pg_get_indexdef(indexrelid, 9, true) FROM pg_index WHERE indrelid = 'sales.orders'::regclass
-- rows
CREATE UNIQUE INDEX orders_pkey ON sales.orders USING btree (id, region)|region|

-- constraint definition
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'sales."Odd Name"'::regclass
-- rows
Odd Name_pkey|PRIMARY KEY ("Key")

-- arrays
SELECT ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = 'sales.orders'::regclass AND attnum > 0 ORDER BY attnum DESC), ARRAY(SELECT relname FROM pg_class WHERE relname = 'nothing'), array_upper(current_schemas(true), 1), 'public' = ANY (current_schemas(false)), 3 = ANY ('{1,2,3}'::int[])
-- rows
{note,amount,region,id}|{}|2|t|t

-- correlated subqueries
SELECT c.relname, (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) AS columns, (SELECT n.nspname FROM pg_namespace n WHERE n.oid = c.relnamespace), EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid) FROM pg_class c WHERE c.relkind IN ('r', 'v') AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('sales', 'public')) ORDER BY 1
-- rows
Odd Name|2|sales|t
big_orders|2|sales|f
every_type|19|public|f
orders|4|sales|t
v|2|public|f

-- duplicate names
SELECT 1, 2, NULL, NULL, c.relname, c.relname, 'a' AS relname FROM pg_class c WHERE c.relname = 'orders'
-- rows
1|2|||orders|orders|a

-- nested duplicates
SELECT x.* FROM (SELECT pg_catalog.format_type(23, NULL), format_type(25, NULL)) AS x(a, b)
-- rows
integer|text

-- common tables
WITH pg_trigger AS (SELECT 1 AS tgname) SELECT tgname FROM pg_trigger
-- rows
1

-- no triggers
SELECT count(*), max(tgname) FROM pg_catalog.pg_trigger
-- rows
0|

-- visible types
SELECT pg_catalog.format_type(1700, 983046), format_type(1043, 14), format_type(1184, -1), format_type(1007, NULL), format_type(18, NULL), format_type(424242, NULL), format_type(NULL, NULL)
-- rows
numeric(15,2)|character varying(10)|timestamp with time zone|integer[]|"char"|???|

-- text functions
SELECT quote_ident('Odd Name'), quote_literal('it''s'), pg_size_pretty(10240::bigint), pg_encoding_to_char(6), pg_encoding_to_char(999), format('%I.%I = %L %%', 'sales', 'Odd Name', 'x'), pg_char_to_encoding('UTF8')
-- rows
"Odd Name"|'it''s'|10 kB|UTF8||sales."Odd Name" = 'x' %|6

-- like with escape
SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pg/_cat%' ESCAPE '/' OR nspname LIKE 'sal_s' ESCAPE ''
-- rows
pg_catalog
sales
