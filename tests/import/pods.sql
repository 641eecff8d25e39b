-- A made-up database of a Pods service written in Python: a schema for what the
-- site shares, tenant "dev" with the columns of a newer release, and tenant "tacc"
-- with those of an older one. Names, passwords and times mean nothing.

create schema siteadmintable;
create schema dev;
create schema tacc;
create schema elsewhere;
create table elsewhere.pod (n integer); -- something else with such a name

-- What tables have in all releases.
create table siteadmintable.image (
  image varchar primary key, tenants varchar[], description varchar not null, creation_ts timestamp, added_by varchar not null
);
create table siteadmintable.password (
  pod_id varchar primary key, admin_username varchar not null, admin_password varchar not null,
  user_username varchar not null, user_password varchar not null, tenant_id varchar not null, site_id varchar not null
);
create table siteadmintable.volume (
  volume_id varchar primary key, description varchar not null, size_limit integer not null, size integer not null,
  status varchar not null, permissions varchar[], creation_ts timestamp, update_ts timestamp,
  tenant_id varchar not null, site_id varchar not null, k8_name varchar not null, logs varchar not null
);
create table siteadmintable.snapshot (
  snapshot_id varchar primary key, source_volume_id varchar not null, source_volume_path varchar not null,
  destination_path varchar not null, description varchar not null, size_limit integer not null, cron varchar not null,
  retention_policy varchar not null, size integer not null, status varchar not null, permissions varchar[],
  creation_ts timestamp, update_ts timestamp, tenant_id varchar not null, site_id varchar not null, k8_name varchar not null, logs varchar not null
);
create table siteadmintable.template (
  template_id varchar primary key, description varchar not null, metatags varchar[], archive_message varchar,
  creation_ts timestamp, update_ts timestamp, permissions varchar[], tenant_id varchar not null, site_id varchar not null
);
create table siteadmintable.templatetag (
  template_id varchar not null, pod_definition json, commit_message varchar not null, tag varchar not null,
  tag_timestamp varchar primary key, added_by varchar not null, creation_ts timestamp
);
create table siteadmintable.pod (
  pod_id varchar primary key, image varchar not null default '', template varchar not null default '', description varchar not null,
  command varchar[], arguments varchar[], environment_variables json, status_requested varchar not null, volume_mounts json,
  time_to_stop_default integer not null, time_to_stop_instance integer, networking json, resources json,
  compute_queue varchar not null default 'default', time_to_stop_ts timestamp, status varchar not null, status_container json,
  creation_ts timestamp, update_ts timestamp, start_instance_ts timestamp, tenant_id varchar not null, site_id varchar not null,
  k8_name varchar not null, logs varchar not null, action_logs varchar[] default '{}', permissions varchar[], modified_fields varchar[]
);

create table tacc.image (like siteadmintable.image including all);
create table tacc.password (like siteadmintable.password including all);
create table tacc.volume (like siteadmintable.volume including all);
create table tacc.snapshot (like siteadmintable.snapshot including all);
create table tacc.template (like siteadmintable.template including all);
create table tacc.templatetag (like siteadmintable.templatetag including all);
create table tacc.pod (like siteadmintable.pod including all);

create table dev.image (like siteadmintable.image including all);
create table dev.password (like siteadmintable.password including all);
create table dev.volume (like siteadmintable.volume including all);
create table dev.snapshot (like siteadmintable.snapshot including all);
create table dev.template (like siteadmintable.template including all);
create table dev.templatetag (like siteadmintable.templatetag including all);
create table dev.pod (like siteadmintable.pod including all);
create table dev.alembic_version (version_num varchar primary key);
insert into dev.alembic_version values ('f8a9b3c2d1e0');

-- What newer releases have besides.
alter table siteadmintable.templatetag add column description varchar not null default '', add column archive_message varchar not null default '',
  add column tenant_id varchar not null default '', add column kind varchar;
alter table dev.pod add column secret_map json, add column template_overrides json, add column healthchecks json, add column stack_id varchar;
create table dev.secret (
  secret_id varchar primary key, scope varchar not null, pod_id varchar, description varchar not null, readable boolean not null,
  writable boolean not null, sk_secret_name varchar not null, creation_ts timestamp, added_by varchar not null,
  tenant_id varchar not null, site_id varchar not null, permissions varchar[]
);
create table dev.podaccesstoken (id varchar primary key, pod_id varchar);

insert into siteadmintable.image values
  ('tiangolo/uvicorn-gunicorn-fastapi', '{**}', 'FastAPI', '2024-01-02 03:04:05.678', 'jdoe'),
  ('podway/hello', '{*,-a2cps}', 'Says hello', '2024-01-02 03:04:06', 'jdoe'),
  ('no image:a:b', '{*}', '', '2024-01-02 03:04:07', 'jdoe');

insert into siteadmintable.template values
  ('webbase', 'A web server', '{web,base}', '', '2025-01-30 17:00:00', '2025-01-30 17:00:00.5', '{testuser:ADMIN,**:READ}', 'dev', 'tacc');
insert into siteadmintable.templatetag (template_id, pod_definition, commit_message, tag, tag_timestamp, added_by, creation_ts, tenant_id, kind) values
  ('webbase', '{"image":"podway/hello","description":null,"command":null,"environment_variables":{"LEVEL":"info","DEBUG":1},"resources":{"cpu_limit":1000,"mem_limit":null,"ephemeral_storage_limit":2048},
    "networking":{"default":{"protocol":"http","port":5000,"url":"","ip_allow_list":[],"tapis_auth":false,"tapis_auth_response_headers":{},"tapis_auth_allowed_users":["*"],"tapis_auth_return_path":"/",
      "cors_allow_origins":[],"cors_allow_methods":[],"cors_allow_headers":[],"cors_allow_credentials":false,"cors_max_age":100,"tapis_ui_uri":"","tapis_ui_uri_redirect":false,"tapis_ui_uri_description":""}},
    "compute_queue":"default","volume_mounts":{}}', 'first', 'latest', 'latest@2025-01-30-17:14:14', 'testuser', '2025-01-30 17:14:14.9', 'dev', 'pod'),
  ('webbase', '{"image":"podway/hello","environment_variables":{"LEVEL":"debug"}}', '', 'latest', 'latest@2025-01-31-08:00:00', 'testuser', '2025-01-31 08:00:01', 'dev', null),
  ('webbase', '{}', 'a stack', 'many', 'many@2025-02-01-08:00:00', 'testuser', '2025-02-01 08:00:00', 'dev', 'stack');

insert into tacc.template values
  ('webbase', 'Of another tenant', null, '', '2025-03-01 00:00:00', '2025-03-01 00:00:00', '{jdoe:ADMIN}', 'tacc', 'tacc'),
  ('graph', 'A database of graphs', '{}', null, '2025-03-02 00:00:00', '2025-03-02 00:00:00', '{jdoe:ADMIN,*:READ}', 'tacc', 'tacc');
insert into tacc.templatetag values
  ('graph', '{"image":"neo4j:5","networking":{"default":{"protocol":"tcp","port":7687},"browser":{"protocol":"http","port":7474}}}', 'graphs', '5.0', '5.0@2025-03-02-01:00:00', 'jdoe', '2025-03-02 01:00:00');

insert into dev.volume values
  ('mydata', 'Shared files', 2048, 7, 'AVAILABLE', '{testuser:ADMIN,otheruser:READ}', '2024-05-06 07:08:09.123456', '2024-05-07 07:08:09', 'dev', 'tacc', 'pods-tacc-dev-mydata', ''),
  ('broken', '', 1024, 0, 'CREATING', '{testuser:ADMIN}', '2024-05-06 07:08:10', null, 'dev', 'tacc', 'x', '');
insert into dev.snapshot values
  ('monday', 'mydata', '/results', '', 'Of Monday', 1024, '0 0 * * 1', 'keep', 3, 'AVAILABLE', '{testuser:ADMIN}', '2024-05-08 00:00:00', '2024-05-08 00:00:00', 'dev', 'tacc', 'x', '');
insert into tacc.volume values
  ('mydata', 'Of another tenant', 1024, 0, 'AVAILABLE', '{jdoe:ADMIN}', '2024-05-06 07:08:09', '2024-05-06 07:08:09', 'tacc', 'tacc', 'x', '');

-- A pod with everything, of a newer release.
insert into dev.pod (pod_id, image, template, description, command, arguments, environment_variables, status_requested, volume_mounts,
    time_to_stop_default, time_to_stop_instance, networking, resources, compute_queue, status, status_container, creation_ts, update_ts,
    start_instance_ts, tenant_id, site_id, k8_name, logs, action_logs, permissions, modified_fields, secret_map, healthchecks) values
  ('web', 'podway/hello', '', 'My first pod', null, null,
    '{"PASSWORD":"<<TAPIS_user_password>>","TOKEN":"${pods:secrets:API_TOKEN}","WORKERS":4}', 'ON',
    '{"/data":{"type":"tapisvolume","source_id":"mydata","sub_path":"","read_only":false,"mounted_by":"testuser"}}',
    -1, null,
    '{"default":{"protocol":"http","port":5000,"url":"web.pods.dev.localhost","ip_allow_list":["192.0.2.0/24","127.0.0.1"],"tapis_auth":true,"tapis_auth_response_headers":{"X-User":"<<tapisusername>>"},
      "tapis_auth_allowed_users":["*"],"tapis_auth_return_path":"/","cors_allow_origins":[],"cors_allow_methods":[],"cors_allow_headers":[],"cors_allow_credentials":false,"cors_max_age":100,
      "cert_state":"ready","cert_ready":true,"new_thing":"x","other_new_thing":[],"custom_domain":"","tapis_ui_uri":""}}',
    '{"cpu_request":250,"cpu_limit":500,"mem_request":256,"mem_limit":3072,"gpus":0,"ephemeral_storage_limit":4096}', 'default', 'AVAILABLE', '{"phase":"Running"}',
    '2024-06-10 17:20:27.654321', '2024-06-11 17:20:27', '2024-06-10 17:21:00', 'dev', 'tacc', 'pods-tacc-dev-web', E'listening\nready\n',
    '{"24/06/10 17:20: Pod object created by ''testuser''","24/06/10 17:21: health set status to AVAILABLE","a line without a time","24/06/12 08:00: ''testuser'' ran restart_pod, set to RESTART"}',
    '{testuser:ADMIN,otheruser:READ,nonsense,otheruser:USER}', '{pod_id,image,description,networking}',
    '{"API_TOKEN":"a-secret-of-the-source","DB":"${secret:testuser:dbpass}"}', '{"liveness":null,"readiness":{"tcp_socket_port":5000},"startup":null,"networking_requires_ready":true}');
-- One on a template: what it did not set is the template's.
insert into dev.pod (pod_id, image, template, description, environment_variables, status_requested, volume_mounts, time_to_stop_default, networking, resources,
    status, creation_ts, update_ts, tenant_id, site_id, k8_name, logs, permissions, modified_fields) values
  ('templated', 'podway/hello', 'webbase:latest@2025-01-30-17:14:14', '', '{"LEVEL":"warn"}', 'OFF', '{}', 43200,
    '{"default":{"protocol":"http","port":5000,"url":"templated.pods.dev.localhost"}}', '{"cpu_request":250,"cpu_limit":2000,"mem_request":256,"mem_limit":3072,"gpus":0}',
    'STOPPED', '2025-02-01 00:00:00', '2025-02-01 00:00:00', 'dev', 'tacc', 'x', '', '{testuser:ADMIN}', '{pod_id,template,environment_variables}'),
  ('orphan', '', 'gone:latest@2025-01-30-17:14:14', '', '{}', 'OFF', '{}', 43200, null, null,
    'STOPPED', '2025-02-02 00:00:00', null, 'dev', 'tacc', 'x', '', '{testuser:USER}', '{pod_id,template}'),
  ('badport', 'podway/hello', '', '', '{}', 'OFF', '{}', 43200, '{"default":{"protocol":"http","port":99999}}', null,
    'STOPPED', '2025-02-03 00:00:00', null, 'dev', 'tacc', 'x', '', '{testuser:ADMIN}', '{pod_id}');
insert into dev.password values
  ('web', 'podsservice', 'admin-password-of-web', 'web', 'user-password-of-web', 'dev', 'tacc'),
  ('templated', 'podsservice', 'a', 'templated', 'user-password-of-templated', 'dev', 'tacc'),
  ('badport', 'podsservice', 'a', 'badport', 'b', 'dev', 'tacc');
insert into dev.secret values
  ('dbpass', 'user', null, '', true, true, 'sk', '2025-12-10 00:00:00', 'testuser', 'dev', 'tacc', '{testuser:ADMIN}');
insert into dev.podaccesstoken values ('one', 'web'), ('two', 'web');

-- Of an older release: mounts by volume, and nothing that was noted as modified.
insert into tacc.pod (pod_id, image, template, description, command, environment_variables, status_requested, volume_mounts, time_to_stop_default, networking, resources,
    status, creation_ts, update_ts, tenant_id, site_id, k8_name, logs, permissions) values
  ('graphdb', 'neo4j', '', '', '{sleep,5000}', '{}', 'RESTART', '{"mydata":{"type":"tapisvolume","mount_path":"/import","sub_path":"in"},"store":{"type":"pvc","mount_path":"/data"}}', 43200,
    '{"default":{"protocol":"tcp","port":7687,"url":"graphdb.pods.tacc.tapis.io"}}', '{"cpu_request":250,"cpu_limit":2000,"mem_request":256,"mem_limit":4096,"gpus":0}',
    'AVAILABLE', '2023-10-01 00:00:00', '2023-10-01 00:00:00', 'tacc', 'tacc', 'x', 'started', '{jdoe:ADMIN,*:READ}');
