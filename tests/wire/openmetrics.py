"""The page of the plugin prometheus, as a parser of OpenMetrics reads it."""
from prometheus_client.openmetrics.parser import text_string_to_metric_families

TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Page:
    """families: by name, as the parser gives them. samples: (name, labels as a frozenset of pairs) to number."""

    def __init__(self, text):
        self.text = text
        assert text.endswith("\n# EOF\n")
        self.families = {}
        self.samples = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.families, family.name
            self.families[family.name] = family
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, key
                self.samples[key] = sample.value

    def value(self, name, **labels):
        """Of the one sample with these labels, and no others; 0 when there is none."""
        return self.samples.get((name, frozenset(labels.items())), 0)

    def sum(self, name, **labels):
        """Over all samples that have these labels, and others."""
        wanted = set(labels.items())
        return sum(value for (n, has), value in self.samples.items() if n == name and wanted <= has)

    def values(self, name, label):
        """Which values a label of a metric has."""
        return {dict(has).get(label) for n, has in self.samples if n == name}

    def labels(self):
        """Name of each metric to the labels that its samples have."""
        found = {}
        for name, has in self.samples:
            found.setdefault(name, set()).update(label for label, _ in has)
        return found

    def counters(self):
        """All that must never fall."""
        names = {f.name + "_total" for f in self.families.values() if f.type == "counter"}
        names |= {f.name + end for f in self.families.values() if f.type == "histogram"
                  for end in ("_bucket", "_sum", "_count")}
        return {key: value for key, value in self.samples.items() if key[0] in names}


async def scrape(bench, path="/openmetrics", headers=None):
    answer = await bench.proxy.fetch(path, headers)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == TYPE
    return Page(answer.body.decode())


def assert_rising(before, after):
    """No counter has fallen; a series may have gone when other names are shown than before."""
    now = after.counters()
    fallen = {key: (value, now[key]) for key, value in before.counters().items() if key in now and now[key] < value}
    assert not fallen, fallen
