-- A million rows in memory: indexes, joins, aggregates, updates, deletes, and a final check of every page.
PRAGMA temp_store = MEMORY;
CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, name TEXT, body BLOB, x REAL);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)
INSERT INTO t SELECT i, (i * 7919) % 10007, printf('name-%d-%s', i, hex(i * 31)), zeroblob(i % 37), i / 7.0 FROM n;
CREATE INDEX by_k ON t (k, x);
CREATE INDEX by_name ON t (name);
SELECT count(*), sum(k), min(name), max(name), round(avg(x), 6), sum(length(body)) FROM t;
SELECT k, count(*), group_concat(id % 97) FROM t WHERE k < 3 GROUP BY k;
SELECT count(*) FROM (SELECT DISTINCT substr(name, 1, 9) FROM t);
SELECT a.id, b.id FROM t a JOIN t b ON a.k = b.k AND b.id > a.id WHERE a.id < 4 ORDER BY 1, 2 LIMIT 8;
UPDATE t SET name = name || '-changed' WHERE id % 11 = 0;
DELETE FROM t WHERE k % 3 = 1;
SELECT count(*), sum(length(name)) FROM t;
SELECT name, row_number() OVER (ORDER BY x DESC) FROM t LIMIT 3;
CREATE TABLE j AS SELECT id, json_object('id', id, 'name', name) AS doc FROM t WHERE id % 20 = 0;
SELECT sum(json_extract(doc, '$.id')) FROM j;
VACUUM;
PRAGMA integrity_check;
