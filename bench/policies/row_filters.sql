CREATE POLICY everything ON orders TO plain USING (true);
CREATE POLICY everything ON lineitem TO plain USING (true);
CREATE POLICY everything ON accounts TO plain USING (true);

CREATE POLICY always ON orders FOR SELECT TO governed USING (o_orderkey >= 0 AND o_orderkey % 64 < 64);
CREATE POLICY always ON lineitem FOR SELECT TO governed USING (l_orderkey >= 0 AND l_orderkey % 64 < 64);

CREATE POLICY tenth ON orders FOR SELECT TO tenth USING (o_orderkey % 10 = 1);
CREATE POLICY tenth ON lineitem FOR SELECT TO tenth USING (l_orderkey % 10 = 1);

-- Two million accounts of a hundred tenants; an agent reads its tenant's.
CREATE POLICY tenant ON accounts FOR SELECT TO governed USING (tenant < 100);
