-- A fixed job for sqlite3 in memory: a table of texts, an index, a join, an update and a sort.
PRAGMA temp_store = MEMORY;
CREATE TABLE item (id INTEGER PRIMARY KEY, kind INTEGER, title TEXT, body TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO item
SELECT i, i * 2654435761 % 97, 'title ' || (i * 7919 % 60013), substr('abcdefghijklmnopqrstuvwxyz', 1 + i % 20) || hex(i)
FROM n;
CREATE INDEX item_title ON item (title);
SELECT count(*), sum(length(a.title || b.body)) FROM item a JOIN item b ON b.title = 'title ' || a.id;
UPDATE item SET body = upper(body) || title WHERE kind % 3 = 0;
SELECT group_concat(x) FROM (SELECT kind || ':' || count(DISTINCT title) AS x FROM item GROUP BY kind ORDER BY 1);
DELETE FROM item WHERE kind < 40;
SELECT sum(length(title)) FROM (SELECT title, body FROM item ORDER BY body DESC, title);
