"""Tests of OpsBrain; mirrors the packages, plus scenarios/, golden/ and kafka/."""
