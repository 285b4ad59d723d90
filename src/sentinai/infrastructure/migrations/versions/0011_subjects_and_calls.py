"""Keys belong to subjects; a call of a tool says whether its attempt has begun, what it waits for, and under which key.

Keys that are there already are subjects of their own: who holds them was never said.

Revision ID: 0011
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SCRIPT = """
alter table api_key add column subject text;
update api_key set subject = key_id::text;
alter table api_key alter column subject set not null;
comment on column api_key.subject is 'the person or service that holds the key; rules about people compare subjects';

drop function held_keys(bytea[]);
create function held_keys(hashes bytea[]) returns table (
  tenant_id text, key_id uuid, name text, role text, key_hash bytea, expires_at timestamptz, subject text
) language sql stable security definer set search_path = public as $$
  select k.tenant_id, k.key_id, k.name, k.role, k.key_hash, k.expires_at, k.subject
  from api_key k join tenant t using (tenant_id)
  where k.key_hash = any(hashes) and k.revoked_at is null and not t.suspended
    and (k.expires_at is null or k.expires_at > now())
$$;
comment on function held_keys is 'the keys among these that are valid now; the only way to a key before the tenant is known';
revoke all on function held_keys from public;
grant execute on function held_keys to sentinai_api, sentinai_ingest, sentinai_worker;

alter table approval add column approvers integer not null default 1;
alter table approval add column votes text[] not null default '{}';
comment on column approval.approvers is 'how many different people have to say yes';
comment on column approval.votes is 'who said yes so far, where more than one has to; the last yes is in decided_by';

alter table tool_execution add column idempotency_key uuid;
alter table tool_execution add column idle_lease timestamptz;
alter table tool_execution add column waits_for text;
alter table tool_execution add column patient_since timestamptz;
alter table tool_execution add column answer json;
comment on column tool_execution.idempotency_key is 'null: the execution id; the same thing was asked for before under this key';
comment on column tool_execution.idle_lease is 'lease_until, until the attempt passes the gate; any other lease may have sent something';
comment on column tool_execution.waits_for is 'why no attempt is made now (approval, circuit, slot, retry); due_at: until when';
comment on column tool_execution.patient_since is 'since when it waits for a slot or a circuit; null: since it was asked for';
comment on column tool_execution.answer is 'status, media type and beginning of an answer that could not be used';
"""


def upgrade() -> None:
    run_script(op.get_bind(), SCRIPT)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
