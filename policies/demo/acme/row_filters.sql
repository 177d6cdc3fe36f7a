-- Which rows of a table a role sees, in PostgreSQL's row security and with its meaning: for each command the permissive
-- policies of the roles held are joined by OR, restrictive ones by AND; a table named here shows no row to a role that
-- no policy names.
--
-- Every TPC-H table is divided between the two desks: each row belongs to exactly one of them, so that what the two see
-- is disjoint and together is what admin sees. The columns used are never NULL, and each condition for one desk is the
-- other's negation.
--
-- Conditions compare a column with constants and are chosen by role instead of by current_setting('agent.region'): the
-- engine then pushes them into the scan. A filter holds no subquery, so each table is divided by its own columns.

-- ---- Geography
-- TPC-H's regions are 0 AFRICA, 1 AMERICA, 2 ASIA, 3 EUROPE, 4 MIDDLE EAST.

CREATE POLICY emea_rows ON region FOR SELECT TO emea USING (r_regionkey IN (0, 3, 4));
CREATE POLICY americas_rows ON region FOR SELECT TO americas USING (r_regionkey IN (1, 2));
CREATE POLICY support_rows ON region FOR SELECT TO support USING (true);
CREATE POLICY admin_rows ON region TO admin USING (true);

CREATE POLICY emea_rows ON nation FOR SELECT TO emea USING (n_regionkey IN (0, 3, 4));
CREATE POLICY americas_rows ON nation FOR SELECT TO americas USING (n_regionkey IN (1, 2));
CREATE POLICY support_rows ON nation FOR SELECT TO support USING (true);
CREATE POLICY admin_rows ON nation TO admin USING (true);

-- ---- Customers and suppliers, by nation
-- The ten nations of regions 1 and 2: 1 ARGENTINA, 2 BRAZIL, 3 CANADA, 8 INDIA, 9 INDONESIA, 12 JAPAN, 17 PERU,
-- 18 CHINA, 21 VIETNAM, 24 UNITED STATES. NOT IN gives the other desk the rest, whatever nations are added.

CREATE POLICY emea_rows ON customer FOR SELECT TO emea
  USING (c_nationkey NOT IN (1, 2, 3, 8, 9, 12, 17, 18, 21, 24));
CREATE POLICY americas_rows ON customer FOR SELECT TO americas
  USING (c_nationkey IN (1, 2, 3, 8, 9, 12, 17, 18, 21, 24));
CREATE POLICY support_rows ON customer FOR SELECT TO support USING (true);
CREATE POLICY admin_rows ON customer TO admin USING (true);

CREATE POLICY emea_rows ON supplier FOR SELECT TO emea
  USING (s_nationkey NOT IN (1, 2, 3, 8, 9, 12, 17, 18, 21, 24));
CREATE POLICY americas_rows ON supplier FOR SELECT TO americas
  USING (s_nationkey IN (1, 2, 3, 8, 9, 12, 17, 18, 21, 24));
CREATE POLICY support_rows ON supplier FOR SELECT TO support USING (true);
CREATE POLICY admin_rows ON supplier TO admin USING (true);

-- ---- Orders and their lines
-- An order carries no nation; the desks number orders in alternating blocks of 32. Lines have their order's number and
-- so stay with it. TPC-H uses eight numbers of each 32, so each desk has half the orders.

CREATE POLICY emea_rows ON orders FOR SELECT TO emea USING (o_orderkey % 64 < 32);
CREATE POLICY americas_rows ON orders FOR SELECT TO americas USING (o_orderkey % 64 >= 32);
CREATE POLICY support_rows ON orders FOR SELECT TO support USING (true);
-- Which orders an operator corrects is for its approvers to say; that it may is for access.cedar.
CREATE POLICY operator_rows ON orders FOR SELECT TO operator USING (true);
CREATE POLICY operator_corrections ON orders FOR UPDATE TO operator USING (true);
CREATE POLICY admin_rows ON orders TO admin USING (true);

CREATE POLICY emea_rows ON lineitem FOR SELECT TO emea USING (l_orderkey % 64 < 32);
CREATE POLICY americas_rows ON lineitem FOR SELECT TO americas USING (l_orderkey % 64 >= 32);
CREATE POLICY support_rows ON lineitem FOR SELECT TO support USING (true);
CREATE POLICY admin_rows ON lineitem TO admin USING (true);

-- ---- Parts and who supplies them
-- Each desk sells half the catalogue: even numbers in EMEA, odd ones in the Americas. Support may not read these tables
-- at all (access.cedar), so no policy names it.

CREATE POLICY emea_rows ON part FOR SELECT TO emea USING (p_partkey % 2 = 0);
CREATE POLICY americas_rows ON part FOR SELECT TO americas USING (p_partkey % 2 <> 0);
CREATE POLICY admin_rows ON part TO admin USING (true);

CREATE POLICY emea_rows ON partsupp FOR SELECT TO emea USING (ps_partkey % 2 = 0);
CREATE POLICY americas_rows ON partsupp FOR SELECT TO americas USING (ps_partkey % 2 <> 0);
CREATE POLICY admin_rows ON partsupp TO admin USING (true);
