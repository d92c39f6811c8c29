"""Public reports of what goes wrong with other people's files in this field, and where each is tested here.

A report is an issue or a pull request (PR), by repository and number. "Own guess" means that none was found.
"""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest


class Report(NamedTuple):
    what: str
    reports: str
    test: str
    """File below tests/, and function."""


REPORTS = [
    # Videos
    Report(
        "an edit list hides frames, the header counts them",
        "vllm-project/vllm PR 48608, PyAV-Org/PyAV 526",
        "data/test_ghost_frames.py::test_frames_are_counted_as_they_come_out",
    ),
    Report(
        "frames that do not come out show another video's",
        "mipops/dvrescue 34, dmlc/decord 252",
        "data/test_ghost_frames.py::test_loaders_show_what_comes_out_and_refuse_the_rest",
    ),
    Report(
        "a phone's video lies on its side",
        "PyAV 570 1047, iterative/datachain 1823, cvat-ai/cvat 1961 2187, dmlc/decord 24, roboflow/inference PR 1911",
        "data/test_upright.py::test_loaders_show_them_upright",
    ),
    Report(
        "boxes of a tracker that saw it upright",
        "as above",
        "data/test_upright.py::test_boxes_are_those_of_upright_frames",
    ),
    Report(
        "a cover picture or a small stream before the video",
        "UltraStar-Deluxe/USDX PR 948, opencast/opencast 3694, amule 1075, bytedeco/javacv 1876",
        "data/test_video_kinds.py::test_the_largest_of_several_streams_is_read_by_all",
    ),
    Report(
        "colours of BT.709",
        "NVIDIA/DALI 4441, PyAV 1430 1431 2149",
        "data/test_video_kinds.py::test_every_reader_sees_the_same",
    ),
    Report(
        "one damaged frame ends the video",
        "bluecherrydvr 40, scottlamb/moonfire-nvr 198, ZoneMinder 4589",
        "data/test_video_damage.py::test_a_damaged_frame_costs_no_more_than_those_that_refer_to_it",
    ),
    Report(
        "frames that FFmpeg drops without an error",
        "as above",
        "data/test_video_damage.py::test_a_damaged_frame_costs_no_more_than_those_that_refer_to_it",
    ),
    Report(
        "damage that ends the process",
        "NVIDIA/DALI 2475 2894 2280",
        "data/test_video_damage.py::test_damage_of_every_kind_ends_no_process_and_divides_no_loaders",
    ),
    Report(
        "names that FFmpeg takes for protocols",
        "nordlicht 55, opencv 15624, SlowFast 325, youtube-dl 6286 6874",
        "data/test_crop.py::test_names_that_ffmpeg_takes_for_protocols",
    ),
    # Images
    Report(
        "16 bits, real numbers, 32 bits",
        "python-pillow/Pillow 1108 2574 5967 5991",
        "data/test_image_kinds.py::test_all_readers_see_the_same",
    ),
    Report(
        "real numbers and 32 bits are white or black",
        "python-pillow/Pillow 5991",
        "data/test_image_kinds.py::test_all_readers_refuse_the_same_by_name",
    ),
    Report(
        "several pages, animated PNG and WebP",
        "own guess; Pillow's n_frames",
        "data/test_image_kinds.py::test_all_readers_refuse_the_same_by_name",
    ),
    Report(
        "orientation of WebP and others",
        "image-rs/jpeg-decoder 212, pop-os/cosmic-bg PR 142",
        "data/test_image_kinds.py::test_all_readers_see_the_same",
    ),
    Report(
        "content that the ending does not say",
        "NVIDIA/DALI 5151 842 2172 785",
        "data/test_image_kinds.py::test_all_readers_see_the_same",
    ),
    Report(
        "a damaged JPEG is filled with grey",
        "NVIDIA/DALI 211",
        "data/test_jpeg.py::test_damage_is_an_error_though_other_decoders_fill_it_in",
    ),
    Report(
        "empty crops of one pixel",
        "ultralytics PR 25135",
        "data/test_image_kinds.py::test_all_readers_refuse_the_same_by_name",
    ),
    Report(
        "16 bits, packed as video",
        "python-pillow/Pillow 5967",
        "data/test_image_kinds.py::test_all_readers_see_the_same",
    ),
    # Folders and names
    Report(
        "endings that browsers and phones give",
        "own guess: .jfif of Chrome and Edge, .avif and .heic",
        "data/test_listing.py::test_images_that_are_not_read_are_counted",
    ),
    Report("masks beside frames", "own guess", "data/test_listing.py::test_masks_beside_frames_are_left_out"),
    Report(
        "frames named by seconds",
        "roboflow/trackers PR 558, cvat 3270, pytorch-video-recognition 30, stylegan-v 43",
        "data/test_frame_order.py::test_names_that_mean_one_order",
    ),
    Report(
        "negative, hexadecimal and mixed names",
        "as above",
        "data/test_frame_order.py::test_what_could_mean_another_order_is_said",
    ),
    Report(
        "folders of systems in official trees",
        "SY-Xuan/IICS 5, immich-app/immich 30690",
        "data/test_leftovers.py::test_every_format_is_read_as_its_clean_tree",
    ),
    Report(
        "thumbnails of a Synology share",
        "immich-app/immich 30690, mbrrg/synology-thumbgen PR 11",
        "data/test_leftovers.py::test_a_folder_beside_images_drops_no_tracklet",
    ),
    Report(
        "a waste basket on a disk", "own guess", "data/test_leftovers.py::test_a_folder_beside_images_drops_no_tracklet"
    ),
    Report(
        "links in a circle",
        "TimesysGit/vigiles-buildroot 8, huggingface_hub PR 4205, magento-malware-scanner PR 123",
        "data/test_tree.py::test_links_to_what_is_there_add_and_drop_nothing",
    ),
    Report("links to nowhere", "own guess", "data/test_check.py::test_every_broken_video_and_link_is_listed"),
    Report("pipes among images", "own guess", "data/test_listing.py::test_pipes_and_sockets_are_never_opened"),
    Report("several broken videos", "own guess", "data/test_check.py::test_every_broken_video_and_link_is_listed"),
    Report(
        "whole scenes in place of people",
        "dmlc/gluon-cv 878, layumi 313, deep-person-reid 401 461",
        "data/test_scenes.py::test_training_refuses_source_and_target",
    ),
    Report("whole scenes, looked at", "as above", "data/test_scenes.py::test_check_says_no"),
    # Tables, tracks and other texts
    Report(
        "nan, None and N/A for nothing",
        "pandas 10205 24681 11839, DataSynthesizer 1, cellxgene PR 1115",
        "data/test_labels.py::test_words_for_nothing_are_unknown",
    ),
    Report("identity -1", "fast-reid 285, layumi 325", "data/test_labels.py::test_words_for_nothing_are_unknown"),
    Report(
        "1.0 beside 1, 007 beside 7", "petbox-dev/tafra PR 15", "data/test_labels.py::test_people_meet_across_spellings"
    ),
    Report("a row an image", "fast-reid 220", "data/test_labels.py::test_a_row_an_image_is_refused"),
    Report("blanks, tabs and semicolons", "boxmot 51 137 247", "data/test_mot_text.py::test_separators"),
    Report("ids of 64 bits", "levipereira/deepstream-yolo-e2e 18", "data/test_mot_text.py::test_ids_of_64_bits"),
    Report(
        "boxes of no track",
        "cheind/py-motmetrics 18, centerNet-deep-sort 31",
        "data/test_mot_text.py::test_untracked_boxes_are_left_out_and_counted",
    ),
    Report(
        "ground truth to be ignored",
        "open-mmlab/mmtracking PR 177, roboflow/trackers PR 466, deepMOT 10, boxmot PR 1473",
        "data/test_mot_text.py::test_ground_truth_keeps_people_to_look_at",
    ),
    Report(
        "a folder of images to crop from",
        "roboflow/trackers PR 558",
        "data/test_crop.py::test_a_folder_of_frames_is_the_video",
    ),
    Report("tracks in a folder", "boxmot 1602", "data/test_crop.py::test_tracks_in_a_folder_are_refused"),
    Report(
        "a recording an hour",
        "ultralytics 6393 16864 10302, abewley/sort 26",
        "data/test_crop.py::test_several_recordings_of_a_camera",
    ),
    Report(
        "MATLAB's other versions",
        "boazarad/NTIRE2020_spectral 4",
        "data/test_matlab.py::test_files_of_other_versions_say_which_and_how_to_save_them",
    ),
    # Weights and checkpoints
    Report(
        "prefixes of wrappers",
        "facebookresearch/moco-v3 30, fast-reid 352",
        "models/test_weights.py::test_any_prefix_is_found",
    ),
    Report("containers", "facebookresearch/moco-v3 30", "models/test_weights.py::test_any_container_is_found"),
    Report(
        "torchreid's checkpoints",
        "deep-person-reid 443 482",
        "models/test_weights.py::test_a_trunk_with_a_classifier_of_another_program_loads_its_trunk",
    ),
    Report("NaN in weights", "OpenUnReID 43", "models/test_weights.py::test_numbers_that_are_of_no_use_are_named"),
    Report(
        "pointers and pages in the place of weights",
        "deep-person-reid 225",
        "models/test_torch_files.py::test_another_file_is_called_by_its_name",
    ),
    Report(
        "NaN in a checkpoint that is scored",
        "OpenUnReID 43 52",
        "training/test_checkpoint_checks.py::test_what_was_edited_is_named_in_scoring_and_going_on",
    ),
    Report(
        "keys missing, added, of another shape",
        "facebookresearch/moco-v3 30",
        "training/test_checkpoint_checks.py::test_any_change_is_read_right_or_refused_in_one_line",
    ),
    # Training
    Report(
        "resumed on other data",
        "ultralytics 20886 10200, yolov5 2109",
        "test_train.py::test_resume_on_other_data_names_what_changed",
    ),
    Report("relabelled, or with other frames", "as above", "data/test_fingerprint.py::test_other_frames_are_noticed"),
    Report(
        "diverged in the last step",
        "fast-reid 170 529, OpenUnReID 43 52",
        "training/test_divergence.py::test_weights_that_turn_nan_in_a_last_step_keep_the_good_checkpoint",
    ),
    Report("numbers of YAML 1.1", "beetbox/confuse 91", "config/test_command_line.py::test_a_file_means_what_it_says"),
    Report(
        "numbers without bounds, ~ and dashes",
        "beetbox/confuse 91",
        "config/test_knobs.py::test_no_number_is_infinite_or_too_large",
    ),
    # Scores and kernels
    Report("one person in the gallery", "layumi 325", "data/test_check.py::test_a_gallery_of_one_person_is_noted"),
    Report(
        "scores that cannot be written",
        "own guess",
        "test_evaluate.py::test_scores_that_cannot_be_written_are_never_computed",
    ),
    Report(
        "NaN in features",
        "BrewPOTS 17, LCFractal/AIC21-MTMC 23",
        "metrics/test_rank.py::test_every_function_refuses_numbers_that_are_not_finite",
    ),
    Report(
        "NaN among the centroids",
        "yxgeee/MMT 21",
        "kernels/test_kmeans_assign.py::test_centroids_that_are_not_finite_are_nobodys_nearest",
    ),
    Report(
        "one sample far away", "own guess", "kernels/test_kmeans.py::test_one_sample_far_away_does_not_spoil_the_others"
    ),
    Report(
        "a classifier made anew for each clustering",
        "yxgeee/MMT 32",
        "kernels/test_ema_changes.py::test_a_replaced_module_is_followed",
    ),
    Report(
        "weights tied in one network",
        "own guess",
        "kernels/test_ema_changes.py::test_weights_tied_in_one_network_only_are_refused",
    ),
    Report(
        "pruned, reshaped, parametrised",
        "own guess",
        "kernels/test_ema_changes.py::test_what_no_longer_corresponds_is_named",
    ),
    Report(
        "a teacher in bfloat16",
        "pytorch/ignite 2590",
        "kernels/test_ema_changes.py::test_a_half_teacher_is_warned_of_once",
    ),
]


@cache
def functions_of(file):
    tree = ast.parse((Path(__file__).parent / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("report", REPORTS, ids=[report.what for report in REPORTS])
def test_each_report_has_its_test(report):
    file, name = report.test.split("::")
    assert name in functions_of(file) and name.startswith("test_")
