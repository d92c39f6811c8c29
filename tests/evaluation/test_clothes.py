"""Which protocols on clothes a data set allows."""

from vreid_fast.data import Dataset, Tracklet
from vreid_fast.evaluation.clothes import clothes_protocols


def test_clothes_protocols_look_at_other_cameras_of_the_person():
    def of(*rows):
        return [Tracklet([], identity, camera, clothes) for identity, camera, clothes in rows]

    def protocols(query, gallery):
        return clothes_protocols(Dataset("x", [], of(*query), of(*gallery)))[0]

    assert protocols([(1, 1, 0)], [(1, 1, 1), (2, 2, 1), (1, 2, 0)]) == ["same_clothes"]
    assert protocols([(1, 1, 0)], [(1, 2, 1), (2, 2, 0)]) == ["clothes_change"]
    assert protocols([(-1, 1, 0)], [(-1, 2, 1)]) == []
    assert clothes_protocols(Dataset("x", [], of((1, 1, None)), of((1, 2, 0)))) == ([], [])
