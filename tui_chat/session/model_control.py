"""Loading and switching models, and the sampling parameters of a session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tui_chat.chat.events import EngineEvent, Failed, Loading, Ready
from tui_chat.chat.params import find_spec
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.safe_text import storable
from tui_chat.session.core import SessionCore
from tui_chat.session.events import EngineUpdate, ParamsChanged


class ModelControl(SessionCore):
    """The part of the session that loads models and holds the sampling parameters."""

    # The model

    def start(self) -> None:
        """Begin to load the model that the settings name."""
        self._load(self._wanted)

    def switch_model(
        self, model: str, precision: str = "auto", template: str | None = None
    ) -> None:
        """Load another model; the present one is freed first and reloaded if that fails.

        Raises:
            ModelNotFoundError: If there is no such model; nothing is stopped or freed then.
        """
        self._registry.resolve(model)
        self._load(LoadRequest(model, precision, self._wanted.device, template))

    def switch_precision(self, precision: str) -> None:
        """Load the same model in another precision."""
        self._load(replace(self._wanted, precision=precision))

    def _load(self, request: LoadRequest) -> None:
        self.stop_all()
        with self._lock:
            if self._state == "loading" and self._load_job is not None:
                self._load_job.cancel()
            self._state = "loading"
            self._load_number += 1
            number = self._load_number
            self._load_job = self._runner.submit_load(
                request, lambda event: self._on_load_event(request, number, event)
            )
            self._requeue_waiting()

    def _on_load_event(self, request: LoadRequest, number: int, event: EngineEvent) -> None:
        with self._lock:
            if number != self._load_number:
                return  # a newer load has replaced this one
            if isinstance(event, Loading):
                self._loading, self._state = event, "loading"
            elif isinstance(event, Ready):
                self._loading, self._state = None, "ready"
                self._wanted = replace(
                    request if event.info.name == request.model else self._wanted,
                    model=event.info.name,
                    precision=event.info.precision,
                )
                self._composer = None
                self._conversation.model = event.info.name
                if number > 1:  # the user chose it; the first load is automatic
                    self._save_header(self._conversation)
                self._take_model_preset(event.info.name)
                event = self._with_length_warning(event)
            elif isinstance(event, Failed):
                self._loading = None
                self._state = "ready" if self._backend.info is not None else "empty"
        self._tell(EngineUpdate(None, event))

    def _take_model_preset(self, model: str) -> None:
        """Switch to the model's own preset, unless the user has changed any value."""
        name = self._preset_for(model)
        untouched = self.preset_values(self._preset).with_values(self._overrides) == self._params
        if name != self._preset and untouched:
            self._preset = name
            self._params = self.preset_values(name).with_values(self._overrides)
            self._tell(ParamsChanged())

    def _with_length_warning(self, event: Ready) -> Ready:
        """Add a warning if a chosen `max_new_tokens` exceeds the context of the new model."""
        asked, context = self._params.max_new_tokens, event.info.context
        if asked <= context or self._is_length_usual():
            return event
        warning = f"max_new_tokens is {asked}, and the context {context}: replies end there"
        return replace(event, info=replace(event.info, warnings=(*event.info.warnings, warning)))

    def _is_length_usual(self) -> bool:
        """Return whether `max_new_tokens` is a shipped default that nobody has chosen."""
        preset = self.presets[self._preset]
        if self._params.max_new_tokens != preset.params().max_new_tokens:
            return False
        return not preset.has_own_length

    def set_param(self, name: str, value: Any) -> None:
        """Change one parameter; a running reply uses it from the next token on.

        Raises:
            ParameterError: If the name is unknown or the value is out of range; the old value
                stays. The upper limit of `max_new_tokens` is the context.
        """
        with self._lock:
            spec = find_spec(name).within(self._limits()[0])
            self._params = self._params.with_values({name: spec.check(value)})
            self._keep_params()
        self._tell(ParamsChanged())

    def apply_preset(self, name: str) -> None:
        """Replace the parameters by those of a preset.

        The seed, the stop strings and `speculate` keep their values.

        Raises:
            ParameterError: If there is no such preset, or it is the user's own and its
                `max_new_tokens` exceeds the context; the old values stay.
        """
        values = self.preset_values(name)
        with self._lock:
            self.presets[name].check_within(self._limits()[0])
            kept = ("seed", "stop", "speculate")
            self._params = values.with_values({n: getattr(self._params, n) for n in kept})
            self._preset = self._chosen_preset = name
            self._overrides = {}
            self._keep_params()
        self._tell(ParamsChanged())

    def _keep_params(self) -> None:
        """Save the parameters with the chat, so that reopening it can restore them."""
        self._note_params()
        self._save_header(self._conversation)

    def _note_params(self) -> None:
        """Record the parameters in the chat; the caller saves the header."""
        usual = self.preset_values(self._preset).to_dict()
        changed = {n: v for n, v in self._params.to_dict().items() if usual[n] != v}
        self._conversation.working |= {"preset": self._preset, "values": changed}

    def _note_chosen_params(self) -> None:
        """Record the parameters if the user chose them; otherwise each model's preset applies."""
        is_usual = self._params == self.preset_values(self._preset)
        if self._chosen_preset is not None or not is_usual:
            self._note_params()

    def set_system(self, text: str) -> None:
        """Set the system message of this chat; empty for none."""
        with self._lock:
            self._conversation.system = storable(text.strip())
            self._save_header(self._conversation)
        self._tell(ParamsChanged())
