"""The event log, the consumers' cursors, the projections and the three roles.

Revision ID: 0001
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLES = """
do $$ begin
  perform pg_advisory_xact_lock(7733001);
  if not exists (select from pg_roles where rolname = 'sentinai_api') then create role sentinai_api nologin; end if;
  if not exists (select from pg_roles where rolname = 'sentinai_worker') then create role sentinai_worker nologin bypassrls; end if;
  if not exists (select from pg_roles where rolname = 'sentinai_ingest') then create role sentinai_ingest nologin bypassrls; end if;
  execute format('grant sentinai_api, sentinai_worker, sentinai_ingest to %I', current_user);
end $$;
"""

TABLES = """
create table tenant (
  tenant_id text primary key,
  name text not null,
  suspended boolean not null default false,
  config_version bigint not null default 1,
  created_at timestamptz not null
);
comment on column tenant.config_version is 'raised with every change of packs or tools; caches compare it';

create table api_key (
  tenant_id text not null references tenant,
  key_id uuid not null,
  name text not null,
  role text not null,
  key_hash bytea not null unique,
  hint text not null,
  created_at timestamptz not null,
  created_by text not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  primary key (tenant_id, key_id)
);

create table event (
  tenant_id text not null,
  stream text not null,
  sequence integer not null,
  event_id uuid not null,
  type text not null,
  schema_version smallint not null,
  topic text not null,
  partition smallint not null,
  handled boolean not null,
  occurred_at timestamptz not null,
  actor text not null,
  correlation_id uuid,
  causation_id uuid,
  config_hash text,
  payload json not null,
  hash bytea not null,
  xid xid8 not null default pg_current_xact_id(),
  position bigint generated always as identity,
  primary key (tenant_id, stream, sequence)
);
comment on column event.handled is 'its consumer''s work was done in the same transaction, or nobody inside consumes it';
create index event_log on event (topic, partition, xid, position) where not handled;
create index event_fresh on event (xid) include (topic) where not handled;
create index event_audit on event (tenant_id, position);

create table consumer_cursor (
  consumer text not null,
  topic text not null,
  partition smallint not null,
  xid xid8 not null default '0',
  position bigint not null default 0,
  primary key (consumer, topic, partition)
) with (fillfactor = 20);

create table parked (
  tenant_id text not null,
  consumer text not null,
  stream text not null,
  sequence integer not null,
  dead_letter_id uuid not null unique,
  type text not null,
  state text not null,
  attempts integer not null default 0,
  due_at timestamptz,
  error text,
  message text,
  parked_at timestamptz not null,
  primary key (tenant_id, consumer, stream, sequence)
);
comment on column parked.state is 'due: tried again at due_at; behind: waits for an earlier event of its stream; dead: needs a person';
create index parked_due on parked (consumer, due_at) where state = 'due';

create table exception (
  tenant_id text not null,
  exception_id uuid not null,
  status text not null,
  severity text,
  exception_type text,
  domain text,
  source_system text not null,
  external_id text,
  title text,
  owner text,
  queue text,
  occurrences integer not null,
  blocked boolean not null,
  automated boolean not null,
  occurred_at timestamptz not null,
  received_at timestamptz not null,
  updated_at timestamptz not null,
  triaged_at timestamptz,
  resolved_at timestamptz,
  due_at timestamptz,
  pending integer not null,
  state json not null,
  primary key (tenant_id, exception_id)
) with (fillfactor = 85);
comment on column exception.state is 'the fold of the stream; the other columns repeat what queries filter by';
comment on column exception.pending is 'recorded events that a consumer has yet to handle';
comment on column exception.due_at is 'earliest SLA time or approval expiry; the SLA worker looks at it then';
create index exception_received on exception (tenant_id, received_at, exception_id);
create index exception_open on exception (tenant_id, status, received_at, exception_id) where status not in ('RESOLVED', 'MERGED');
create index exception_due on exception (due_at) where due_at is not null;

create table dedup (
  tenant_id text not null,
  dedup_key text not null,
  exception_id uuid not null,
  seen_at timestamptz not null,
  primary key (tenant_id, dedup_key)
);
comment on table dedup is 'the exception that was there first under a key; taken over once it is closed or out of the window';

create table approval (
  tenant_id text not null,
  approval_id uuid not null,
  exception_id uuid not null,
  status text not null,
  reason text not null,
  step text,
  requested_by text not null,
  requested_at timestamptz not null,
  expires_at timestamptz,
  decided_by text,
  decided_at timestamptz,
  comment text,
  primary key (tenant_id, approval_id)
);
create index approval_status on approval (tenant_id, status, requested_at, approval_id);

create table tool_definition (
  tenant_id text not null,
  tool_id text not null,
  name text not null,
  domain text,
  definition json not null,
  definition_hash text not null,
  updated_at timestamptz not null,
  primary key (tenant_id, tool_id)
);
comment on column tool_definition.domain is 'the pack''s domain; null for a tool registered by itself';

create table tool_enablement (
  tenant_id text not null,
  tool_id text not null,
  enabled boolean not null,
  reason text,
  updated_at timestamptz not null,
  primary key (tenant_id, tool_id)
);

create table tool_execution (
  tenant_id text not null,
  execution_id uuid not null,
  exception_id uuid,
  stream text not null,
  step text,
  tool text not null,
  is_channel boolean not null default false,
  input json not null,
  config_hash text,
  status text not null,
  attempts integer not null default 0,
  due_at timestamptz,
  lease_until timestamptz,
  requested_by text not null,
  requested_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz,
  output json,
  error text,
  causation_id uuid,
  primary key (tenant_id, execution_id)
);
create index tool_execution_due on tool_execution (due_at) where status in ('REQUESTED', 'RUNNING');
create index tool_execution_list on tool_execution (tenant_id, requested_at, execution_id);

create table domain_pack (
  tenant_id text not null,
  domain text not null,
  version text not null,
  content_hash text not null,
  content json not null,
  imported_at timestamptz not null,
  imported_by text not null,
  primary key (tenant_id, domain, version)
);

create table policy_pack (
  tenant_id text not null,
  domain text not null,
  version text not null,
  content_hash text not null,
  content json not null,
  imported_at timestamptz not null,
  imported_by text not null,
  primary key (tenant_id, domain, version)
);

create table active_config (
  tenant_id text not null,
  config_hash text not null,
  domain text not null,
  domain_version text not null,
  policy_version text not null,
  active boolean not null,
  activated_at timestamptz not null,
  activated_by text not null,
  primary key (tenant_id, config_hash)
);
comment on table active_config is 'every pair that ever was active: running exceptions keep theirs';
create unique index active_config_one on active_config (tenant_id, domain) where active;

create table worker_heartbeat (
  worker_id text primary key,
  consumers text[] not null,
  host text not null,
  pid integer not null,
  health_port integer,
  started_at timestamptz not null,
  seen_at timestamptz not null,
  handled bigint not null default 0
);

create function held_keys(hashes bytea[]) returns table (
  tenant_id text, key_id uuid, name text, role text, key_hash bytea, expires_at timestamptz
) language sql stable security definer set search_path = public as $$
  select k.tenant_id, k.key_id, k.name, k.role, k.key_hash, k.expires_at
  from api_key k join tenant t using (tenant_id)
  where k.key_hash = any(hashes) and k.revoked_at is null and not t.suspended
    and (k.expires_at is null or k.expires_at > now())
$$;
comment on function held_keys is 'the keys among these that are valid now; the only way to a key before the tenant is known';
revoke all on function held_keys from public;
"""

TENANT_TABLES = [
    "tenant",
    "api_key",
    "event",
    "parked",
    "exception",
    "dedup",
    "approval",
    "tool_definition",
    "tool_enablement",
    "tool_execution",
    "domain_pack",
    "policy_pack",
    "active_config",
]

GRANTS = """
grant usage on schema public to sentinai_api, sentinai_worker, sentinai_ingest;
grant select, insert on event to sentinai_api, sentinai_worker;
grant insert on event, exception to sentinai_ingest;
grant execute on function held_keys to sentinai_api, sentinai_ingest, sentinai_worker;
grant select, insert, update on tenant, api_key, exception, approval, tool_definition, tool_enablement, tool_execution,
  domain_pack, policy_pack, active_config to sentinai_api;
grant select, insert, update, delete on parked to sentinai_api, sentinai_worker;
grant delete on tool_definition to sentinai_api;
grant select on consumer_cursor, worker_heartbeat to sentinai_api;
grant select, insert, update on exception, dedup, approval, tool_execution, consumer_cursor to sentinai_worker;
grant select on tenant, tool_definition, tool_enablement, domain_pack, policy_pack, active_config to sentinai_worker;
grant select, insert, update, delete on worker_heartbeat to sentinai_worker;
"""

ISOLATION = """
alter table {table} enable row level security;
create policy own_tenant on {table} to sentinai_api
  using (tenant_id = current_setting('app.tenant_id', true))
  with check (tenant_id = current_setting('app.tenant_id', true));
"""

ADMINISTRATION = """
create policy every_tenant on {table} to sentinai_api
  using (current_setting('app.platform', true) = 'on')
  with check (current_setting('app.platform', true) = 'on');
"""


def upgrade() -> None:
    isolation = [ISOLATION.format(table=table) for table in TENANT_TABLES]
    administration = [ADMINISTRATION.format(table=table) for table in ("tenant", "api_key")]
    op.execute(ROLES)
    run_script(op.get_bind(), "".join([TABLES, GRANTS, *isolation, *administration]))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
