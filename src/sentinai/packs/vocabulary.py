"""Which actions and providers may a pack name, and what do they need? Handed in from where both are known."""

from dataclasses import dataclass

from sentinai.packs.parameters import Parameter


@dataclass(frozen=True, slots=True)
class ActionWord:
    """An action that steps may name. `asks_people`: it waits for a person's yes by itself."""

    name: str
    parameters: tuple[Parameter, ...] = ()
    asks_people: bool = False


@dataclass(frozen=True, slots=True)
class ProviderWord:
    """A provider that tools may name; `needs` are keys of the declaration that it cannot do without."""

    name: str
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    actions: tuple[ActionWord, ...]
    providers: tuple[ProviderWord, ...]

    def action(self, name: str) -> ActionWord | None:
        return next((word for word in self.actions if word.name == name), None)

    def provider(self, name: str) -> ProviderWord | None:
        return next((word for word in self.providers if word.name == name), None)
