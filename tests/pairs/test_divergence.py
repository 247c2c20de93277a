"""Where the clusters part, as real nodes part: what is counted."""

import re

import pytest
from cassandra import InvalidRequest


def counted(proxy):
    """{series: value} of both families."""
    status, body = proxy.get("/metrics")
    assert status == 200
    return {name: float(value) for name, value in re.findall(
        r"^zdm_cqlferry_((?:conditional_divergences|partial_writes)_total\S+) (\S+)$", body, re.M)}


def more(before, after):
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


@pytest.mark.checklist(83, 132)
def test_conditional_writes(link, primary, key):
    """The row is on target only: IF NOT EXISTS holds on origin, IF EXISTS on target."""
    session, proxy = link.session(primary), link.proxy(primary)
    series = 'conditional_divergences_total{keyspace="%s",table="simple"}' % link.keyspace
    prepared = session.prepare("UPDATE simple SET v = ? WHERE id = ? IF v = ?")
    for text, values, on_origin in (("INSERT INTO simple (id, v) VALUES (%d, 1) IF NOT EXISTS" % key, None, True),
                                    (prepared, (5, key + 1, 9), False),
                                    ("BEGIN BATCH UPDATE simple SET v = 6 WHERE id = %d IF EXISTS APPLY BATCH" % key,
                                     None, False)):
        for k in (key, key + 1):
            for side in link.sides:
                side.execute("DELETE FROM %s.simple WHERE id = %d" % (link.keyspace, k))
            link.target.execute("INSERT INTO %s.simple (id, v) VALUES (%d, 9)" % (link.keyspace, k))
        before = counted(proxy)
        row = session.execute(text, values).one()
        assert row[0] is (on_origin if primary == "origin" else not on_origin)
        assert more(before, counted(proxy)) == {series: 1}
    before = counted(proxy)
    link.on_both("INSERT INTO {ks}.simple (id, v) VALUES (%d, 7)" % key)
    assert session.execute("UPDATE simple SET v = 8 WHERE id = %d IF v = 7" % key).one()[0] is True
    assert session.execute("UPDATE simple SET v = 8 WHERE id = %d IF v = 7" % key).one()[0] is False
    assert more(before, counted(proxy)) == {}


def test_a_table_that_only_one_cluster_has(link, primary, key):
    session, proxy = link.session(primary), link.proxy(primary)
    link.target.execute("CREATE TABLE %s.lonely%d (id int PRIMARY KEY)" % (link.keyspace, key))
    before = counted(proxy)
    with pytest.raises(InvalidRequest):
        session.execute("INSERT INTO lonely%d (id) VALUES (1)" % key)
    assert more(before, counted(proxy)) == {
        'partial_writes_total{keyspace="%s",table="lonely%d",missing="origin",certain="yes"}' % (link.keyspace, key): 1}
