"""What the names in metrics.jsonl and result.json mean, in the words a reader sees."""

from collections.abc import Iterable

_PER_CAMERA = "its features standardised per camera, with statistics of unlabelled clips"
_RERANKED = "ranked by k-reciprocal neighbours, which queries and gallery share"
# Rows of the score table, in reading order: name, and what is compared.
NETWORKS = {
    "untrained": ("untrained", "as initialised, or with the weights that it was given"),
    "source": ("source-only", "before adaptation, with its own batch-norm statistics"),
    "source_camera": ("source-only, per camera", _PER_CAMERA),
    "student": ("student", "after adaptation, at the last step"),
    "student_camera": ("student, per camera", _PER_CAMERA),
    "student_rerank": ("student, re-ranked", _RERANKED),
    "student_selected": ("student, best on the test set", "the authors' selection, not a fair score"),
    "teacher": ("teacher", "moving average of the student"),
    "teacher_camera": ("teacher, per camera", _PER_CAMERA),
    "teacher_rerank": ("teacher, re-ranked", _RERANKED),
}

# Rows under another protocol are named NETWORK_PROTOCOL; they come last, and compare with no other row.
PROTOCOLS = {
    "same_clothes": ("same clothes", "only matches in the same clothes count"),
    "clothes_change": ("other clothes", "only matches in other clothes count"),
}

LOSSES = {
    "cross_entropy": "Identity cross-entropy (eq. 5)",
    "triplet": "Triplet (eq. 6)",
    "info_nce": "InfoNCE, frames of a person",
    "clothes": "Clothes-based adversarial (CAL)",
    "l1s": "L1S, domain of frames (eq. 7)",
    "l2s": "L2S, domain of clips (eq. 8)",
    "l3s": "L3S, domain of mixtures (eq. 9)",
    "l1c": "L1C, same cluster (eq. 14)",
    "l2c": "L2C, cluster mean (eq. 15)",
    "proxy": "Camera proxies (plus)",
    "transport": "Transported labels (glt)",
    "transport_triplet": "Transported labels' triplet (glt)",
}

# The same as a label has room for.
TERMS = {name: words.split(" (")[0].split(",")[0] for name, words in LOSSES.items()}
TERMS |= {"cross_entropy": "cross-entropy", "triplet": "triplet"}

DIAGNOSTICS = {
    "domain_accuracy_frames": "Domain accuracy, frames",
    "domain_accuracy_clips": "Domain accuracy, clips",
    "agreement": "Student and teacher agree",
    "disagreement": "Student and teacher disagree (eq. 14)",
    "clothes_told": "Cross-entropy of the classifier of clothes",
    "clothes_accuracy": "Clothes told by it",
    "gradient_norm": "Gradient norm of the total",
    "clips_per_second": "Clips a second",
}

CLUSTERS = {
    "clusters": "Clusters that are used",
    "cluster_size_smallest": "Smallest cluster, tracklets",
    "cluster_size_median": "Tracklets in a cluster",
    "cluster_size_largest": "Largest cluster, tracklets",
    "cameras_per_cluster": "Cameras in a cluster, mean",
    "outliers": "Tracklets in no cluster",
    "pairs_kept": "Pairs kept from the pass before",
    "clusters_stayed": "1 = no clusters found, those before stay",
    "overlaps_met": "Pairs seen at once that are in one cluster",
    "neighbours": "Neighbours in a list of each camera",
    "unseen_pair_precision": "Pairs that are one person (labels unseen by training)",
    "unseen_pair_recall": "Pairs of a person in one cluster (labels unseen by training)",
}

SCHEDULES = {
    "learning_rate": "Learning rate",
    "reversal": "Gradient reversal",
    "ema_decay": "Decay of the teacher",
    "weight_identity": "Weight of identity losses",
    "weight_domain": "Weight of domain losses",
    "weight_consistency": "Weight of consistency losses",
}

STAGES = {"source": "source alone", "adapt": "adaptation"}


def network_key(name: str) -> str:
    """Key of NETWORKS for a row name; ``source-only`` is ``source``."""
    return "source" if name == "source-only" else name


def baseline(names: Iterable[str]) -> str | None:
    """The row that others are compared with: source-only where it is, else the first."""
    names = list(names)
    return next((name for name in names if network_key(name) == "source"), names[0] if names else None)


def network_words(name: str) -> tuple[str, str]:
    """Name and explanation of a score row; a row unknown here keeps its name."""
    protocol = protocol_of(name)
    if protocol:
        words, explanation = PROTOCOLS[protocol]
        return f"{network_words(name.removesuffix(f'_{protocol}'))[0]}, {words}", explanation
    return NETWORKS.get(network_key(name), (plain(name), ""))


def protocol_of(name: str) -> str | None:
    """The protocol of PROTOCOLS that a row name ends with; None for the usual one."""
    return next((protocol for protocol in PROTOCOLS if name.endswith(f"_{protocol}")), None)


def plain(name: str) -> str:
    return name.replace("_", " ")


def points(gain: float) -> str:
    """A gain given as a fraction, in percentage points with its sign."""
    return f"{100 * gain:+.1f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds in the two units a reader would say."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
