"""Every Prometheus metric of Zoetrope: names in base units, bounded labels, one home.

A metric is moved where the transition it counts is saved, once that is committed (`backend.db.engine.after_commit`).
How figures leave a process is `backend/metrics_socket.py`.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REGISTRY = CollectorRegistry(auto_describe=True)
"""What this process did since it started."""
STUDIO = CollectorRegistry(auto_describe=True)
"""What the database holds now, the same whichever web process reads it (`services/measure_studio.py`)."""

# A counter's time of birth as a second series each is of no use where restarts show in the counter.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library annotates in part
ProcessCollector(registry=REGISTRY)

_REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAIT_BUCKETS_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_STEP_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

http_requests = Counter(
    "zoetrope_http_requests_total",
    "HTTP requests answered",
    ("method", "route", "status"),
    registry=REGISTRY,
)
http_request_duration = Histogram(
    "zoetrope_http_request_duration_seconds",
    "Time from the first byte in to the last byte out",
    ("method", "route"),
    buckets=_REQUEST_BUCKETS_S,
    registry=REGISTRY,
)
job_transitions = Counter(
    "zoetrope_job_transitions_total",
    "Generation jobs that entered a state",
    ("state", "model", "tier"),
    registry=REGISTRY,
)
jobs_by_state = Gauge(
    "zoetrope_jobs",
    "Generation jobs on their way, by the state they are in now",
    ("state", "tier"),
    registry=STUDIO,
)
submissions_refused = Counter(
    "zoetrope_submissions_refused_total",
    "Submissions that became no job",
    ("reason", "tier"),
    registry=REGISTRY,
)
queue_wait = Histogram(
    "zoetrope_queue_wait_seconds",
    "Time from submission to the first step",
    ("tier", "model"),
    buckets=_WAIT_BUCKETS_S,
    registry=REGISTRY,
)
eta_promises = Counter(
    "zoetrope_eta_promises_total",
    "Clips that were rendered before (held) or after (missed) the p90 that their owner was told first",
    ("outcome",),
    registry=REGISTRY,
)
job_duration = Histogram(
    "zoetrope_job_duration_seconds",
    "Time from submission to completed",
    ("tier", "model"),
    buckets=_WAIT_BUCKETS_S,
    registry=REGISTRY,
)
attempts = Counter("zoetrope_attempts_total", "Attempts that ended", ("model", "outcome"), registry=REGISTRY)
stale_reports = Counter(
    "zoetrope_stale_reports_total", "Reports refused for an old fencing token", registry=REGISTRY
)
uplink_refused = Counter(
    "zoetrope_uplink_refused_total",
    "What workers wrote and nobody could take: messages, and whole streams",
    ("reason",),
    registry=REGISTRY,
)
unbuildable_orders = Counter(
    "zoetrope_unbuildable_orders_total", "Jobs failed because their rows make no order", registry=REGISTRY
)
denoise_step = Histogram(
    "zoetrope_denoise_step_duration_seconds",
    "Time of one denoising step",
    ("model",),
    buckets=_STEP_BUCKETS_S,
    registry=REGISTRY,
)
pass_clips = Histogram(
    "zoetrope_pass_clips",
    "Clips in one pass of the model",
    ("model",),
    buckets=(1, 2, 3, 4, 6, 8, 12, 16),
    registry=REGISTRY,
)
gpu_time = Counter(
    "zoetrope_gpu_seconds_total",
    "Worker time by use: useful (a clip), model_switch, returned (to go on later), cancelled, lost",
    ("model", "use"),
    registry=REGISTRY,
)
workers = Gauge("zoetrope_workers", "Workers by state", ("state",), registry=STUDIO)
worker_heartbeat_age = Gauge(
    "zoetrope_worker_heartbeat_age_seconds", "Age of the oldest heartbeat of a live worker", registry=STUDIO
)
part_heartbeat_age = Gauge(
    "zoetrope_part_heartbeat_age_seconds",
    "Age of the newest heartbeat of a control or moderation worker",
    ("part",),
    registry=STUDIO,
)
outbox_pending = Gauge(
    "zoetrope_outbox_pending", "Outbox rows that are due and not done", ("consumer",), registry=STUDIO
)
outbox_oldest_age = Gauge(
    "zoetrope_outbox_oldest_age_seconds",
    "Age of the oldest outbox row that is due and not done",
    ("consumer",),
    registry=STUDIO,
)
leader = Gauge("zoetrope_leader", "1 in the control process that holds the leader's term", registry=REGISTRY)
credits_charged = Counter(
    "zoetrope_credits_charged_total", "Credits settled", ("tier", "model"), registry=REGISTRY
)
credits_released = Counter(
    "zoetrope_credits_released_total",
    "Credits of holds that were given back",
    ("tier", "reason"),
    registry=REGISTRY,
)
ledger_disagreements = Gauge(
    "zoetrope_ledger_disagreements", "What the last check of the ledger named", registry=STUDIO
)
ledger_checked = Gauge(
    "zoetrope_ledger_checked_timestamp_seconds", "When the last check of the ledger ended", registry=STUDIO
)
verdicts = Counter(
    "zoetrope_moderation_verdicts_total",
    "Moderation verdicts",
    ("stage", "verdict", "clause"),
    registry=REGISTRY,
)
review_cases_open = Gauge("zoetrope_review_cases_open", "Cases that wait for a moderator", registry=STUDIO)
