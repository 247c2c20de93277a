"""
What tests say about the conformance checklists, for the conftest.py of the folders beside this file: the numbers of the
lines that a test shows (`@pytest.mark.checklist(80, 81)`, see checklist.txt; `@pytest.mark.connections(3)`, see
connections.txt) and the profiles in which its proxies ran, as properties of the test in the JUnit report.
scripts/parity.sh reads them.
"""
import pytest

LISTS = ("checklist", "connections")


def configure(config):
    for name in LISTS:
        config.addinivalue_line("markers", f"{name}(*numbers): the lines of tests/{name}.txt that it shows")
    # properties are not in the xunit2 schema, but every reader takes them
    config.addinivalue_line("filterwarnings", "ignore:record_property is incompatible")


@pytest.fixture(autouse=True)
def checklist(request, record_property):
    """The numbers of a test."""
    for name in LISTS:
        for marker in request.node.iter_markers(name):
            for number in marker.args:
                record_property(name, str(number))


def profile_of(sections):
    """The profile of a proxy with these sections of an INI file; None: it has ZDM_* variables only."""
    return "zdm" if sections is None else (sections.get("proxy") or {}).get("profile") or "native"


def note_profile(item, profile):
    """A proxy of this test runs in the profile."""
    if ("profile", profile) not in item.user_properties:
        item.user_properties.append(("profile", profile))
