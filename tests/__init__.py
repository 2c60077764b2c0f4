"""The tests of SynerDiff; helpers they share are in ``tests.support``, fixtures in ``conftest.py``."""
