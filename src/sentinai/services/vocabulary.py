"""Which actions and providers may packs name? Read from the two catalogs, so that a line there is all it takes."""

from collections.abc import Iterable
from typing import Any

from sentinai.packs.parameters import parameters_of
from sentinai.packs.vocabulary import ActionWord, ProviderWord, Vocabulary
from sentinai.playbooks.action import Action
from sentinai.playbooks.actions.catalog import CATALOG as ACTIONS
from sentinai.tools.providers.catalog import CATALOG as PROVIDERS
from sentinai.tools.providers.catalog import ProviderEntry


def vocabulary_of(actions: Iterable[Action[Any]], providers: Iterable[ProviderEntry]) -> Vocabulary:
    return Vocabulary(
        tuple(ActionWord(one.name, parameters_of(one.params), one.asks_people) for one in actions),
        tuple(ProviderWord(one.name, one.needs) for one in providers),
    )


VOCABULARY = vocabulary_of(ACTIONS, PROVIDERS)
