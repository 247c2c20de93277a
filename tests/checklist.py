"""
What tests say about the conformance checklist, for the conftest.py of the folders beside this file: the numbers of the
lines that a test shows (`@pytest.mark.checklist(80, 81)`, see checklist.txt) and the profiles in which its proxies ran,
as properties of the test in the JUnit report. scripts/parity.sh reads them.
"""
import pytest

MARKER = "checklist(*numbers): the lines of tests/checklist.txt that it shows"


def configure(config):
    config.addinivalue_line("markers", MARKER)
    # properties are not in the xunit2 schema, but every reader takes them
    config.addinivalue_line("filterwarnings", "ignore:record_property is incompatible")


@pytest.fixture(autouse=True)
def checklist(request, record_property):
    """The numbers of a test."""
    for marker in request.node.iter_markers("checklist"):
        for number in marker.args:
            record_property("checklist", str(number))


def profile_of(sections):
    """The profile of a proxy with these sections of an INI file; None: it has ZDM_* variables only."""
    return "zdm" if sections is None else (sections.get("proxy") or {}).get("profile") or "native"


def note_profile(item, profile):
    """A proxy of this test runs in the profile."""
    if ("profile", profile) not in item.user_properties:
        item.user_properties.append(("profile", profile))
