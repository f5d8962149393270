"""The vectors of the specification, §1.2, and others worked out with sha256sum."""

from __future__ import annotations

from wattline.signing import call_signature, params_data, token_encryption


def test_encryption_is_that_of_the_specification() -> None:
    assert (
        token_encryption("demoKey", 1709596800000, "demoSecret")
        == "31ec23c9668478b91683b51be7b4dd6c3704ac309b3b9c39ad3a975ef2b1f001"
    )


def test_signature_is_that_of_the_specification() -> None:
    body = b'{"assetIds":"aX7pQ2Lm","pointIds":"wind_speed"}'
    query = [("orgId", "o1700000000001")]
    assert params_data(query, body) == b"orgIdo1700000000001" + body
    assert (
        call_signature("tok-1", query, body, 1709596800000, "demoSecret")
        == "22b76ee925609a3abdbc7d1d2c139b7783e58a397a8f4d9c265d1ae5e9f491e2"
    )


def test_parameters_are_sorted_by_name_in_ascii_order() -> None:
    query = [("orgId", "o1"), ("action", "delete"), ("Zone", "ü")]
    assert params_data(query, b"") == "ZoneüactiondeleteorgIdo1".encode()
