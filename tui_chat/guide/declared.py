"""Generated topics: one for each key, command, parameter fact, preset and model.

Questions and answers come from the program's declarations. They only state facts; the hand-written
topics in `corpus/*.toml` explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tui_chat.actions import ACTIONS, Action
from tui_chat.chat.params import BUILTIN_PRESETS, PARAM_SPECS, ParamSpec
from tui_chat.guide.facts import first_key, keys_by_text, plain, preset_text, registry

_SCOPE_PLACES = {
    "app": "Everywhere", "prompt": "In the prompt", "transcript": "In the transcript",
    "parameters": "In the parameters panel",
}  # fmt: skip
_KEY_FRAMES = (
    "what does {} do", "what is {} for", "what's {} for", "what happens (when|if) i press {}",
    "{}", "why would i press {}", "what is the function of {}", "explain {}",
    "tell me what {} does",
    "i pressed {}, what (happened|did it do)", "which action is on {}", "{} does what",
    "what did {} do", "what will {} do", "when do i use {}", "what can i do with {}",
    "(purpose|meaning|function) of {}", "is {} used [for something]", "and {}", "what about {}",
    "what's the use of {}", "what do i get with {}", "if i hit {}, what <happens>",
)  # fmt: skip
_COMMAND_FRAMES = (
    "what is the {} command [for]", "what will {} do", "i typed {}, what (happened|did it do)",
    "can you explain {}", "(purpose|meaning|function) of {}", "what if i type {}", "{} does what",
    "why would i use {}", "what comes after {}", "does {} take an argument", "{} usage",
    "tell me what {} does", "what did {} do", "what is the use of {}", "type {}",
    "what does {} do", "what is {} [for]", "{}", "how do i use {}", "explain {}",
    "what happens (when|if) i type {}", "is there a {} command", "the {} command", "{} command",
    "tell me about {}", "what about {}", "when do i use {}", "how does {} work", "and {}",
    "does {} exist", "what can i do with {}", "usage of {}", "syntax of {}",
)  # fmt: skip
_RANGE_FRAMES = (
    "(what|which) is the (range|allowed range) of {}", "range of {}", "{} range",
    "(what|which) values (can {} have|are allowed for {}|does {} take|may {} take)",
    "how (high|low|far|large) can {} (go|be)", "(maximum|minimum|limits|max|min) of {}",
    "what is the (maximum|minimum|largest value|smallest value|limit|highest value) (of|for) {}",
    "(possible|allowed|valid) values (of|for) {}", "between which values is {}", "{} limits",
    "what can i set {} to", "{} from where to where", "is there a limit for {}",
)  # fmt: skip
_DEFAULT_FRAMES = (
    "(what|which) is the default [value] (of|for) {}", "default [value] of {}", "{} default",
    "what is {} by default", "what does {} start with", "(initial|standard|normal) value of {}",
    "which value does {} have (normally|by default|at first)", "what is the normal {}",
    "(which|what) {} is used by default", "how is {} set by default", "what is {} set to",
)  # fmt: skip
_OFF_FRAMES = (
    "how (do|can) i (turn|switch) {} off", "how (do|can) i (turn|switch) off {}", "{} off",
    "(disable|deactivate) {}", "how (do|can) i disable {}", "how is {} (disabled|switched off)",
    "(which|what) value of {} (is off|means off|switches it off)", "switch off {}", "turn off {}",
    "i don't want {}", "can {} be (disabled|switched off|turned off)", "get rid of {}",
)  # fmt: skip
_SET_FRAMES = (
    "how (do|can) i (set|change|adjust|modify|raise|lower|increase|decrease|use) {}", "set {}",
    "(change|set|adjust|raise|lower) {} [to another value]", "where (do|can) i (set|change) {}",
    "i want (to change {}|another {}|a higher {}|a lower {})", "set {} to 1",
    "(command|key) (for|to set|to change) {}", "can i change {}", "what do i type to set {}",
)  # fmt: skip
_PRESET_FRAMES = (
    "what is {}", "what does [the preset] {} do", "{}", "{} preset", "the {} preset",
    "what is in [the preset] {}", "(values|settings|parameters) of [the preset] {}",
    "use [the preset] {}", "how do i (apply|use|choose|select) [the preset] {}", "explain {}",
    "(which|what) temperature does {} have", "tell me about {}", "when do i use {}",
    "what does {} set", "what is the {} preset", "what about {}", "apply {}",
)  # fmt: skip
_MODEL_FRAMES = (
    "how (big|large|good) is {}", "[which|what] memory (for|of|does need) {}", "do you have {}",
    "(does|will) {} fit [my machine]", "info on {}", "what can {} do", "i want to use {}",
    "how much memory does {} need", "talk to {}", "get {}", "what do you know about {}",
    "is {} (available|in the list|there)", "who made {}", "how do i (get|select|choose) {}",
    "what is {}", "{}", "tell me about {}", "(load|use|start|run|try) {}", "the model {}",
    "how do i (load|use|start|run) {}", "what about {}", "which model is {}", "explain {}",
    "can i use {}", "describe {}", "what kind of model is {}", "switch to {}", "is {} any good",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A generated topic before its wordings are expanded."""

    id: str
    frames: tuple[str, ...]
    names: str
    """The ways in which people write the name, as alternatives separated by `|`."""
    answer: str
    weight: float
    then: Mapping[str, str] = field(default_factory=dict)


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def key_names(key: str) -> str:
    """Return the ways in which people write a key, as alternatives separated by `|`."""
    low = key.lower()
    named = {
        "esc": "esc|escape|the escape key|the esc key", "pgup": "pgup|page up",
        "pgdn": "pgdn|page down", "delete": "the delete key|del|the del key|delete key",
        "enter": "enter|return|the enter key|the return key", ">": ">|the > key|greater than",
        "backspace": "backspace|the backspace key",
    }  # fmt: skip
    if low in named:
        return named[low]
    if len(key) == 1:
        case = "capital " if key.isupper() else ""
        return f"the {case}{key} key|{key}|the letter {case}{key}|key {key}|pressing {key}"
    if "+" in key:
        modifier, _, rest = key.partition("+")
        short = rest.lower()
        forms = [key, f"{modifier.lower()}+{short}", f"{modifier.lower()}-{short}"]
        forms.append(f"{modifier.lower()} {short}")
        if modifier == "Ctrl":
            forms += [f"control {short}", f"control+{short}"]
        if modifier == "Ctrl" and len(rest) == 1:
            forms.append(f"^{rest}")
        return "|".join(forms)
    if low in ("up", "down", "left", "right"):
        return f"the {low} key|the {low} arrow|arrow {low}|{low} arrow|the arrow {low}"
    return f"{low}|{key}|the {low} key"


def key_answer(key: str, actions: list[Action]) -> str:
    """Return what a key does, for each scope in which it has an action."""
    if len(actions) == 1:
        action = actions[0]
        text = f"{key} ({action.label}): {_lower_first(action.help)}"
        return f"{text} The command `{action.command}` does the same." if action.slash else text
    uses = [f"{_SCOPE_PLACES[a.scope]} it {_lower_first(a.help)}" for a in actions]
    return f"{key} depends on the place. {' '.join(_plain_use(use) for use in uses)}"


def _plain_use(use: str) -> str:
    # "In the prompt it at the first line, brings back" is wrong; drop the "it".
    return use.replace(" it at the ", ", at the ", 1)


def _keys() -> Iterator[Source]:
    for key, actions in keys_by_text().items():
        command = next((a for a in actions if a.slash), None)
        then = {"command": f"The command is `{command.command}`."} if command else {}
        then["key"] = f"The key is {key}."
        yield Source(
            f"key {key}", _KEY_FRAMES, key_names(key), key_answer(key, actions), 0.35, then
        )


def _commands() -> Iterator[Source]:
    for action in ACTIONS:
        if not action.slash:
            continue
        name = action.command
        answer = f"`{action.slash}` {_lower_first(action.help)}"
        then = {"command": f"The command is `{name}`."}
        if action.keys:
            answer += f" The key is {first_key(action)}."
            then["key"] = f"The key is {first_key(action)}."
        else:
            then["key"] = f"It has no key, only the command `{name}`."
        yield Source(f"command {name}", _COMMAND_FRAMES, name, answer, 0.4, then)


def param_facts(spec: ParamSpec) -> dict[str, str]:
    """Return the follow-up answers about a parameter, by kind."""
    name = spec.name
    default = plain(spec.format(spec.default))
    off_value = "" if spec.off is None else plain(spec.format(spec.off))
    if spec.off is not None and spec.default == spec.off:
        default += ", which is off"
    off = f" {off_value} switches it off." if off_value else ""
    facts = {
        "range": f"The range of {name} is {plain(spec.range_text)}.{off}",
        "default": f"The default of {name} is {default}. A preset may set another value.",
        "how": (
            f"Type `/set {name}=VALUE`, or press {{key parameters}}, "
            f"choose {spec.label or name} and change it."
        ),
        "undo": (
            f"Press {{key param_default}} on {spec.label or name} in the parameters panel: "
            "its default comes back."
        ),
    }
    if off_value:
        facts["off"] = f"`/set {name}=off` switches it off; that is the value {off_value}."
    return facts


def _parameters(names: Mapping[str, str]) -> Iterator[Source]:
    for spec in PARAM_SPECS:
        facts = param_facts(spec)
        spoken = names.get(spec.name, spec.name)
        for kind, frames in (
            ("range", _RANGE_FRAMES), ("default", _DEFAULT_FRAMES),
            ("off", _OFF_FRAMES), ("how", _SET_FRAMES),
        ):  # fmt: skip
            if kind in facts:
                others = {k: v for k, v in facts.items() if k != kind}
                yield Source(f"{kind} {spec.name}", frames, spoken, facts[kind], 0.45, others)


def _presets() -> Iterator[Source]:
    for name in BUILTIN_PRESETS:
        spoken = "|".join(dict.fromkeys((name, name.replace("-", " "), name.replace("-", "_"))))
        answer = f"`{name}` sets {preset_text(name)}. Apply it with `/preset {name}`."
        then = {"command": f"The command is `/preset {name}`.", "how": f"Type `/preset {name}`."}
        yield Source(f"preset {name}", _PRESET_FRAMES, spoken, answer, 0.4, then)


def _models() -> Iterator[Source]:
    for name, entry in registry().items():
        if name == "guide":
            continue
        description = entry.get("description", name)
        answer = f"`{name}`: {description} Load it with {{key model}} or `-m {name}`."
        spoken = "|".join(dict.fromkeys((name, name.replace("-", " "))))
        then = {"command": f"The command is `/model {name}`.", "key": "The key is {key model}."}
        yield Source(f"model {name}", _MODEL_FRAMES, spoken, answer, 0.25, then)


def sources(param_names: Mapping[str, str]) -> Iterator[Source]:
    """Yield every generated topic, in the order of the declarations."""
    yield from _keys()
    yield from _commands()
    yield from _parameters(param_names)
    yield from _presets()
    yield from _models()
