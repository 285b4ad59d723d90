"""How does a secret look inside a text, and what are the fields called that hold one?

Every pattern is linear in the length of the text: runs are possessive, gaps bounded, and no match can start inside a run
that failed before, since the text may be an attacker's.
"""

import re
from functools import lru_cache

MASKED = "***"

SECRET_NAMES = frozenset({
    "access_key", "account_key", "api_key", "apikey", "authorization", "client_secret", "cookie", "credential",
    "credentials", "cvc", "cvv", "encryption_key", "jwt", "passcode", "passphrase", "passwd", "password", "passwords",
    "pin", "private_key", "pwd", "secret", "secret_access_key", "secret_key", "session_id", "signing_key", "ssn",
    "token",
})  # fmt: skip
"""Names of fields whose value is masked whatever it is, in snake case; `db_password` and `cvv2` count as well."""

_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[-.\s]+")
_NAME_CHARS_MAX = 100
_QUOTE = r"(?:\\?[\"'])?"
_IS = r"\s{0,20}(?:=>|[=:])\s{0,20}"
_CIPHERTEXT = r"[A-Za-z0-9+/]{41,}+={1,2}(?![A-Za-z0-9+/=])"
"""Base64 longer than any AWS secret access key: one that has been encrypted."""

_BY_FORM = re.compile(
    r"""
    -----BEGIN[ ][A-Z ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----[\s\S]*?(?:-----END[ ][A-Z ]{0,40}-----|\Z)
  | (?<![A-Za-z0-9]) (?:
        (?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}(?![A-Za-z0-9])
      | eyJ[\w-]{8,}+(?:\.[\w-]*+){0,4}
      | [srp]k_(?:live|test|sentinai)_[\w-]{8,}+
      | whsec_[A-Za-z0-9+/=]{8,}+
      | gh[pousr]_[A-Za-z0-9]{20,}+ | github_pat_\w{20,}+ | glpat-[\w-]{16,}+
      | xox[abeprs]-[A-Za-z0-9-]{10,}+ | AIza[\w-]{35} | ya29\.[\w-]{20,}+ | GOCSPX-[\w-]{20,}+
      | SG\.[\w-]{16,}+(?:\.[\w-]++)? | npm_[A-Za-z0-9]{30,}+ | pypi-[\w-]{30,}+ | hf_[A-Za-z0-9]{30,}+
      | dckr_pat_[\w-]{20,}+ | shpat_[A-Za-z0-9]{20,}+ | sk-(?:ant-|proj-)?[\w-]{20,}+
    )
  | (?<=hooks\.slack\.com/services/)[\w/-]{10,}+
    """,
    re.VERBOSE | re.ASCII,
)
_BY_LABEL = re.compile(
    rf"""(?P<label>(?:
        password|passwd|passphrase|passcode|pwd|token|secret
      | (?:secret[_-]?)?access[_-]?key(?:[_-]?id)?(?!{_QUOTE}{_IS}{_QUOTE}{_CIPHERTEXT})
      | (?:api|private|account|signing|encryption)[_-]?key | client[_-]?secret | secret[_-]?key
    ){_QUOTE}{_IS})
    (?: (?P<quote>\\?["']) (?!\*\*\*) (?:[^"'\\\n]|\\[^"'\n])++
      | (?!\*\*\*|\\?["'])[^\s"',;&}}\\]{{3,}}+ )""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_AUTHORIZATION = re.compile(
    rf"""(?P<head>authorization{_QUOTE}{_IS}{_QUOTE})
    (?: (?P<scheme>(?:bearer|basic|apikey|token|digest)\s{{1,20}}) (?!\*\*\*)[^"',;\\\r\n]{{3,}}+
      | (?!\*\*\*)[^\s"',;\\]{{16,}}+ )""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_SCHEME = re.compile(
    r"(?<![A-Za-z0-9])(bearer|basic|apikey)(\s{1,20})(?=[\w.~+/=-]{0,40}?(?:[0-9_+~]|==|(?-i:[a-z][A-Z]))|[\w.~+/=-]{20})"
    r"[\w.~+/=-]{8,}+",
    re.IGNORECASE | re.ASCII,
)
_COOKIE = re.compile(r"(?P<label>(?:set-)?cookie\s{0,5}:\s{0,5})(?!\*\*\*)[^\r\n\"\\]{3,}+", re.IGNORECASE | re.ASCII)
_CODE = re.compile(
    rf"(?P<label>(?<![a-z0-9])(?:cvv2?|cvc2?|pin){_QUOTE}{_IS}{_QUOTE})[0-9]{{3,8}}(?![0-9])", re.IGNORECASE | re.ASCII
)
_AWS_ACCOUNT = re.compile(
    rf"(?P<label>aws[_-]?account[_-]?id{_QUOTE}{_IS}{_QUOTE})[0-9]{{4}}-?[0-9]{{4}}-?[0-9]{{4}}(?![0-9])",
    re.IGNORECASE | re.ASCII,
)
_URL_PASSWORD = re.compile(
    r"(?P<label>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s:/@?#\"'<>]{0,256}:)(?!\*\*\*@)[^\s/\"'<>]+(?=@)",
    re.IGNORECASE | re.ASCII,
)
_URL_SIGNATURE = re.compile(r"(?P<label>[?&](?:sig|signature|x-amz-signature)=)(?!\*\*\*)[\w%+/=.~-]++", re.IGNORECASE)

INDICATORS = (
    r"eyJ|PRIVATE KEY|A(?:KI|SI|RO|ID|GP|NP)A|k_(?:live|test|sentinai)_|whsec_|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-"
    r"|AIza|ya29|GOCSPX|SG\.|npm_|pypi-|hf_|dckr_pat_|shpat_|sk-|hooks\.slack"
    r"|(?i:passw|passp|passcode|pwd|secret|token|jwt|authorization|(?:api|access|private|account|signing|encryption)[._ -]?key"
    r"|credential|cv[vc]|pin[^a-z]|cookie|session|ssn|bearer|basic|aws[_-]?account|[?&]sig|x-amz-sig)"
)
"""Linear-time regular expression that finds something in every text that `masked_secrets` changes, or whose name is secret."""

_STEPS = (
    (_BY_FORM, MASKED),
    (_AUTHORIZATION, rf"\g<head>\g<scheme>{MASKED}"),
    (_SCHEME, rf"\1\2{MASKED}"),
    (_URL_PASSWORD, rf"\g<label>{MASKED}"),
    (_URL_SIGNATURE, rf"\g<label>{MASKED}"),
    (_COOKIE, rf"\g<label>{MASKED}"),
    (_CODE, rf"\g<label>{MASKED}"),
    (_AWS_ACCOUNT, rf"\g<label>{MASKED}"),
    (_BY_LABEL, rf"\g<label>\g<quote>{MASKED}"),
)


def masked_secrets(text: str) -> str:
    """The text with every recognised secret replaced."""
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=10_000)
def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret: `dbPassword`, `X-API-Key`, `cvv2`; not `token_expires_at`."""
    if len(name) > _NAME_CHARS_MAX:
        return False
    words = [word for word in _WORD_BREAK.sub("_", name).lower().rstrip("0123456789_").split("_") if word]
    return any("_".join(words[-count:]) in SECRET_NAMES for count in (1, 2, 3))
