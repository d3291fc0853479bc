"""Every setting with its default and one line of why.

Values come from, in this order: arguments, environment variables `PIXMO_*`, `pixmo.toml` in the working directory,
the defaults below.
"""

from functools import cached_property
from pathlib import Path

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class Settings(BaseSettings):
    """Configuration of one pixmo store and the processes that work on it."""

    model_config = SettingsConfigDict(env_prefix="PIXMO_", toml_file="pixmo.toml", extra="forbid")

    data_dir: Path = Field(Path("pixmo-data"), description="Folder of the store: database, blobs, server key.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; by default SQLite inside the data folder.")

    host: str = Field("127.0.0.1", description="Address to listen on; local only, because speech is personal data.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    public_url: str | None = Field(
        None, description="Address that annotators open, for invite links behind a proxy; by default host and port."
    )
    session_days: int = Field(90, ge=1, description="Days until a sign-in ends.")
    invite_days: int = Field(14, ge=1, description="Days until an unused invite link ends.")

    lease_minutes: float = Field(
        10, gt=0, description="Minutes until a task without a heartbeat goes back to the queue."
    )
    undo_minutes: float = Field(15, ge=0, description="Minutes in which the last submission can be taken back.")
    max_chunk_bytes: int = Field(2 * 2**20, ge=1024, description="Largest piece of a take that is accepted.")
    voice_tolerance: float = Field(
        0.85,
        gt=0,
        le=1,
        description="Share of the minimum of voiced seconds that passes the server's own count; "
        "the browser and the server hear voice slightly differently, and a full ring must never be refused.",
    )

    asr_model: str = Field("auto", description="Whisper model name or folder; auto chooses by hardware.")
    asr_device: str = Field("auto", description="cuda, cpu or auto.")
    asr_compute_type: str = Field("auto", description="CTranslate2 compute type; auto: float16 on CUDA, int8 on CPU.")
    asr_align_model: str | None = Field(
        None, description="wav2vec2 model for word times; by default Whisper's own cross-attention gives them."
    )
    asr_beam_size: int = Field(5, ge=1, description="Beam width of the decoder.")
    asr_batch_size: int = Field(8, ge=1, description="Chunks of 30 s decoded together.")
    asr_threads: int = Field(1, ge=1, description="CPU threads of one worker; more workers use cores better.")
    asr_download: bool = Field(False, description="Whether a worker may download a model from the Hub.")
    job_attempts: int = Field(4, ge=1, description="Tries of a job before it is parked with its reason.")
    job_backoff_seconds: float = Field(2, gt=0, description="Wait before the second try; doubles each time.")
    worker_silence_seconds: float = Field(
        20, gt=0, description="Seconds without a heartbeat after which a worker's jobs go to another one."
    )

    exports_dir: Path = Field(Path("exports"), description="Folder of the data-set versions.")
    split_validation: float = Field(
        0.02,
        ge=0,
        le=0.5,
        description="Share of near-duplicate clusters that go to `validation`; what has a split keeps it.",
    )
    split_test: float = Field(0.02, ge=0, le=0.5, description="Share of near-duplicate clusters that go to `test`.")

    cap_pipeline: Path | None = Field(
        None, description="Your own copy of pipelines/cap.py; by default the one that came with pixmo."
    )
    llm_base_url: str | None = Field(
        None, description="OpenAI-compatible endpoint of a text-only LLM; without it captions are tidied by rule."
    )
    llm_model: str | None = Field(None, description="Model name at that endpoint.")
    llm_api_key: str | None = Field(None, description="Key for that endpoint.", repr=False)
    llm_temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature of the LLM.")
    llm_max_tokens: int = Field(1024, ge=16, description="Longest answer of the LLM, in tokens.")
    llm_timeout_seconds: float = Field(120, gt=0, description="Seconds to wait for the LLM.")

    @cached_property
    def store_dir(self) -> Path:
        """Absolute path of the data folder."""
        return self.data_dir.expanduser().resolve()

    @cached_property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.store_dir / 'pixmo.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
