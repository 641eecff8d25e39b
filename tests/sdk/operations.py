"""Calls every operation on pods that the SDK offers and checks what comes of it.

    python operations.py http://localhost:8000

It prints one line for each part, with a traceback where something is not as it
should be, and ends with an exit code.
"""

import io
import os
import sys
import tempfile
import time
import traceback
import zipfile

from tapipy import errors
from tapipy.tapis import Operation, Tapis, TapisResult

BASE_URL = sys.argv[1]

class Pods:
    """t.pods, remembering which of its operations were called."""

    called = set()

    def __init__(self, client):
        self.pods = client.pods

    def __getattr__(self, name):
        operation = getattr(self.pods, name)

        def call(**kwargs):
            Pods.called.add(name)
            return operation(**kwargs)

        return call


def login(name):
    """Logs in as the documents say."""
    t = Tapis(base_url=BASE_URL, username=name, password=name)
    t.get_tokens()
    assert t.access_token.access_token.count(".") == 2
    assert t.tenant_id == "dev", t.tenant_id
    return t


def fails(kind, text, call, **kwargs):
    """Expects an exception of exactly one class, with a text in its message."""
    try:
        got = call(**kwargs)
    except errors.BaseTapyException as e:
        assert type(e) is kind, f"got {type(e).__name__} ({e.message}), want {kind.__name__}"
        message = e.message if isinstance(e.message, str) else "\n".join(e.message)
        assert text in message, f"got message {message!r}, want {text!r} in it"
        assert e.version, "an error carries the version of the service"
        return e
    raise AssertionError(f"got {got!r}, want {kind.__name__}")


def eventually(what, condition, limit=120):
    """Waits until a condition holds."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit} s"
        time.sleep(0.05)


def equal(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


user_client = login("testuser")
user = Pods(user_client)
other = Pods(login("otheruser"))
admin = Pods(login("testadmin"))
anonymous = Pods(Tapis(base_url=BASE_URL))


def wait_status(pod_id, status):
    def reached():
        pod = user.get_pod(pod_id=pod_id)
        assert status == "ERROR" or pod.status != "ERROR", pod.status_container
        return pod.status == status

    eventually(f"pod {pod_id} {status}", reached)


def service():
    equal(anonymous.healthcheck(), "I promise I'm healthy.")
    fails(errors.ServiceUnavailableError, "Error processing the request.", anonymous.error_handler, status="503")
    fails(errors.NotFoundError, "Error processing the request.", anonymous.error_handler, status="404")
    fails(errors.InternalServerError, "Error processing the request.", anonymous.error_handler, status="502")
    fails(errors.UnauthorizedError, "No Tapis access token found", anonymous.list_pods)


def pods():
    equal(user.list_pods(), [])
    made = user.create_pod(pod_id="web", image="podway/hello", description="first",
                           environment_variables={"COLOUR": "blue"})
    assert isinstance(made, TapisResult)
    equal((made.pod_id, made.status, made.status_requested), ("web", "REQUESTED", "ON"))
    equal((made.command, made.arguments, made.time_to_stop_default), (None, None, 43200))
    equal(made.networking.default.url, "web.pods.dev.localhost")
    fails(errors.BaseTapyException, "already exists", user.create_pod, pod_id="web", image="podway/hello", description="first",
          environment_variables={"COLOUR": "blue"})
    fails(errors.BadRequestError, "pod_id must be lowercase alphanumeric", user.create_pod, pod_id="Web!", image="podway/hello")
    fails(errors.BadRequestError, "must be in allowlist", user.create_pod, pod_id="evil", image="evil/miner")
    fails(errors.BadRequestError, "image is required", user.create_pod, pod_id="empty")
    fails(errors.InvalidInputError, "required argument", lambda **kw: invalid_input(user.create_pod, **kw))
    wait_status("web", "AVAILABLE")

    equal([p.pod_id for p in user.list_pods()], ["web"])
    equal(user.get_pod(pod_id="web").environment_variables.COLOUR, "blue")
    equal(user.get_derived_pod(pod_id="web").image, "podway/hello")
    fails(errors.NotFoundError, "Pod with identifier pod_id: 'none' not found", user.get_pod, pod_id="none")
    fails(errors.NotFoundError, "not found", other.get_pod, pod_id="web")

    equal(user.update_pod(pod_id="web", description="second").description, "second")
    same = user.update_pod(pod_id="web", description="second", _tapis_debug=True)
    equal(same[0].description, "second")
    equal(same[1].response.json()["status"], "error")
    assert "made no changes to pod" in same[1].response.json()["message"]
    fails(errors.BadRequestError, "time_to_stop_default", user.update_pod, pod_id="web", time_to_stop_default=1)

    secret = user.get_pod_credentials(pod_id="web")
    equal((secret.user_username, len(secret.user_password)), ("web", 30))
    logs = user.get_pod_logs(pod_id="web")
    assert isinstance(logs.logs, str) and any("Pod object created by 'testuser'" in line for line in logs.action_logs)


def invalid_input(call, **kwargs):
    """The SDK refuses this itself, so its exception has no version."""
    try:
        call(**kwargs)
    except errors.InvalidInputError as e:
        e.version = "none"
        raise


def pod_permissions():
    equal(user.get_pod_permissions(pod_id="web").permissions, ["testuser:ADMIN"])
    equal(user.set_pod_permission(pod_id="web", user="otheruser", level="READ").permissions, ["otheruser:READ", "testuser:ADMIN"])
    equal(other.get_pod(pod_id="web").pod_id, "web")
    fails(errors.ForbiddenError, "Not authorized -- you do not have access to this endpoint.", other.get_pod_credentials, pod_id="web")
    fails(errors.ForbiddenError, "GET /pods/{pod_id}/stop", other.stop_pod, pod_id="web")
    fails(errors.BadRequestError, "level must be in", user.set_pod_permission, pod_id="web", user="otheruser", level="KING")
    fails(errors.BadRequestError, "no users in ADMIN role", user.delete_pod_permission, pod_id="web", user="testuser")
    fails(errors.NotFoundError, "Could not find permission", user.delete_pod_permission, pod_id="web", user="nobody")
    equal(user.delete_pod_permission(pod_id="web", user="otheruser").permissions, ["testuser:ADMIN"])
    fails(errors.NotFoundError, "not found", other.get_pod, pod_id="web")


def commands():
    done = user.exec_pod_commands(pod_id="web", commands=["echo", "hello world"])
    equal((done.total_commands, done.successful_commands), (1, 1))
    equal(done.execution_results[0].stdout, "hello world\n")
    done = user.exec_pod_commands(pod_id="web", commands=[["false"], ["true"]], fail_on_non_success=False)
    equal([r.success for r in done.execution_results], [False, True])
    fails(errors.BadRequestError, "commands", user.exec_pod_commands, pod_id="web", commands=[])

    path = "/tmp/from-the-sdk.txt"
    sent = user.upload_to_pod(pod_id="web", file=io.BytesIO(b"by tapipy"), dest_path=path)
    equal((sent.uploaded, sent.pod_name), (path, "web"))
    fails(errors.BadRequestError, "dest_path", user.upload_to_pod, pod_id="web", file=io.BytesIO(b"x"), dest_path="")


def power():
    fails(errors.BadRequestError, "Pod must be in 'STOPPED' status", user.start_pod, pod_id="web")
    equal(user.restart_pod(pod_id="web", grab_latest_template_tag=False).status_requested, "RESTART")
    eventually("restart", lambda: user.get_pod(pod_id="web").status_requested == "ON")
    wait_status("web", "AVAILABLE")
    equal(user.stop_pod(pod_id="web").status_requested, "OFF")
    wait_status("web", "STOPPED")
    fails(errors.NotFoundError, "", user.upload_to_pod, pod_id="web", file=io.BytesIO(b"x"), dest_path="/tmp/x")
    equal(user.start_pod(pod_id="web").status_requested, "ON")
    wait_status("web", "AVAILABLE")


def templates():
    made = user.add_template(template_id="mine", description="for tests", metatags=["one", "two"])
    equal((made.template_id, made.metatags, made.archive_message), ("mine", ["one", "two"], ""))
    fails(errors.BaseTapyException, "already exists", user.add_template, template_id="mine")
    fails(errors.BadRequestError, "template_id must be lowercase alphanumeric", user.add_template, template_id="Mine")
    assert "mine" in [t.template_id for t in user.list_templates()]
    assert "mine" not in [t.template_id for t in other.list_templates()]
    equal(user.get_template(template_id="mine").description, "for tests")
    fails(errors.NotFoundError, "Template with identifier template_id: 'none' not found", user.get_template, template_id="none")
    equal(user.update_template(template_id="mine", description="changed").description, "changed")

    definition = {"image": "podway/hello", "environment_variables": {"FROM": "template"}, "time_to_stop_default": -1}
    tag = user.add_template_tag(template_id="mine", pod_definition=definition, commit_message="first")
    equal((tag.tag, tag.commit_message, tag.added_by), ("latest", "first", "testuser"))
    assert tag.tag_timestamp.startswith("latest@"), tag.tag_timestamp
    equal(tag.pod_definition.image, "podway/hello")
    fails(errors.BadRequestError, "commit_message", user.add_template_tag, template_id="mine", pod_definition=definition,
          commit_message="é")

    equal([x.tag for x in user.list_template_tags(template_id="mine")], ["latest"])
    assert not hasattr(user.list_template_tags(template_id="mine", full=False)[0], "pod_definition")
    equal([x.tag_timestamp for x in user.get_template_tag(template_id="mine", tag_id=tag.tag_timestamp)], [tag.tag_timestamp])
    equal(user.get_template_tag(template_id="mine", tag_id="never"), [])
    equal(user.list_templates_and_tags(full=True).mine.tags[0].tag, "latest")

    equal(user.get_template_permissions(template_id="mine").permissions, ["testuser:ADMIN"])
    equal(user.set_template_permission(template_id="mine", user="*", level="READ").permissions, ["*:READ", "testuser:ADMIN"])
    equal(other.get_template(template_id="mine").template_id, "mine")
    fails(errors.ForbiddenError, "PUT /pods/templates/{template_id}", other.update_template, template_id="mine", description="x")

    made = other.create_pod(pod_id="built", template="mine")
    equal(made.template, "mine:" + tag.tag_timestamp)
    equal(other.get_derived_pod(pod_id="built").environment_variables.FROM, "template")
    fails(errors.BadRequestError, "Template not found: 'nothere'", other.create_pod, pod_id="built2", template="nothere")
    saved = user.save_pod_as_template_tag(pod_id_net="web", template_id="mine", tag="saved", commit_message="from web")
    equal((saved.tag, saved.pod_definition.environment_variables.COLOUR), ("saved", "blue"))
    other.delete_pod(pod_id="built")

    equal(user.delete_template_permission(template_id="mine", user="*").permissions, ["testuser:ADMIN"])
    equal(user.delete_template(template_id="mine")["message"], "Template and associated Template Tags successfully deleted.")
    fails(errors.NotFoundError, "not found", user.get_template, template_id="mine")


def images():
    fails(errors.ForbiddenError, "", user.add_image, image="someone/thing")
    made = admin.add_image(image="someone/thing:1", tenants=["*"], description="a thing")
    equal((made.image, made.tenants, made.added_by), ("someone/thing", ["*"], "testadmin"))
    assert "someone/thing" in [i.image for i in user.get_images()]
    equal(user.get_image(image_id="someone/thing").description, "a thing")
    added = admin.add_images(request_body=[{"image": "someone/thing"}, {"image": "someone/other", "tenants": ["**"]}], skip_duplicates=True)
    equal([i.image for i in added], ["someone/other"])
    fails(errors.BaseTapyException, "already exists", admin.add_images, request_body=[{"image": "someone/other"}])
    equal(admin.delete_image(image_id="someone/thing"), "someone/thing")
    equal(admin.delete_image(image_id="someone/other"), "someone/other")


def read_zip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as z:
        return {n: z.read(n) for n in z.namelist() if not n.endswith("/")}


def volumes():
    made = user.create_volume(volume_id="data", description="for tests", size_limit=10)
    equal((made.volume_id, made.status, made.size_limit), ("data", "AVAILABLE", 10))
    fails(errors.BaseTapyException, "already exists", user.create_volume, volume_id="data")
    equal([v.volume_id for v in user.list_volumes()], ["data"])
    equal(user.get_volume(volume_id="data").description, "for tests")
    equal(user.update_volume(volume_id="data", description="changed").description, "changed")
    fails(errors.NotFoundError, "Volume with identifier volume_id: 'none' not found", user.get_volume, volume_id="none")

    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "poem.txt")
        with open(name, "wb") as f:
            f.write(b"roses\x00\xffare red")
        with open(name, "rb") as f:
            assert user.upload_to_volume(volume_id="data", path="texts/poem.txt", file=f)
    assert user.upload_to_volume(volume_id="data", path="top.txt", file=b"bytes")
    files = {f.name: f for f in user.list_volume_files(volume_id="data")}
    equal(set(files), {"texts", "top.txt"})
    equal((files["top.txt"].type, files["top.txt"].size, files["texts"].type), ("file", 5, "dir"))
    equal(user.get_volume_contents(volume_id="data", path="texts/poem.txt"), b"roses\x00\xffare red")
    equal(list(read_zip(user.get_volume_contents(volume_id="data", path="texts", zip=True)).values()), [b"roses\x00\xffare red"])
    fails(errors.NotFoundError, "", user.get_volume_contents, volume_id="data", path="nothing")
    fails(errors.BadRequestError, "", user.get_volume_contents, volume_id="data", path="texts")

    equal(user.get_volume_permissions(volume_id="data").permissions, ["testuser:ADMIN"])
    equal(user.set_volume_permission(volume_id="data", user="otheruser", level="READ").permissions, ["otheruser:READ", "testuser:ADMIN"])
    equal(other.get_volume(volume_id="data").volume_id, "data")
    fails(errors.ForbiddenError, "Not authorized", other.get_volume_contents, volume_id="data", path="top.txt")
    equal(user.delete_volume_permission(volume_id="data", user="otheruser").permissions, ["testuser:ADMIN"])


def snapshots():
    made = user.create_snapshot(snapshot_id="copy", source_volume_id="data", source_volume_path="/texts", description="a copy")
    equal((made.snapshot_id, made.source_volume_id), ("copy", "data"))
    eventually("snapshot", lambda: user.get_snapshot(snapshot_id="copy").status == "AVAILABLE")
    equal([s.snapshot_id for s in user.list_snapshots()], ["copy"])
    equal(user.update_snapshot(snapshot_id="copy", description="changed").description, "changed")
    fails(errors.NotFoundError, "Snapshot with identifier snapshot_id: 'none' not found", user.get_snapshot, snapshot_id="none")
    fails(errors.BadRequestError, "source_volume", user.create_snapshot, snapshot_id="copy2", source_volume_id="nothere",
          source_volume_path="/texts")

    names = [f.name for f in user.list_snapshot_files(snapshot_id="copy")]
    path = "poem.txt" if names == ["poem.txt"] else "texts/poem.txt"
    equal(user.get_snapshot_contents(snapshot_id="copy", path=path), b"roses\x00\xffare red")

    equal(user.get_snapshot_permissions(snapshot_id="copy").permissions, ["testuser:ADMIN"])
    equal(user.set_snapshot_permission(snapshot_id="copy", user="otheruser", level="READ").permissions,
          ["otheruser:READ", "testuser:ADMIN"])
    equal(user.delete_snapshot_permission(snapshot_id="copy", user="otheruser").permissions, ["testuser:ADMIN"])
    equal(user.delete_snapshot(snapshot_id="copy")["message"], "Snapshot successfully deleted.")
    equal(user.delete_volume(volume_id="data")["message"], "Volume successfully deleted.")
    fails(errors.NotFoundError, "not found", user.get_volume, volume_id="data")


def jupyter():
    made = user.ensure_jupyter_pod()
    assert made.pod_id.startswith("tapistempjupytertestuser"), made.pod_id
    assert made.url == f"https://{made.networking.default.url}", made.url
    equal(user.ensure_jupyter_pod().pod_id, made.pod_id)
    wait_status(made.pod_id, "AVAILABLE")
    sent = user.upload_to_jupyter(pod_id=made.pod_id, file=io.BytesIO(b"{}"), path="notes/one.ipynb")
    equal((sent.uploaded, sent.pod_name), ("notes/one.ipynb", made.pod_id))
    fails(errors.BadRequestError, "is no Jupyter pod", user.upload_to_jupyter, pod_id="web", file=io.BytesIO(b"{}"), path="x")
    user.delete_pod(pod_id=made.pod_id)


def proxies():
    stanza = {"protocol": "http", "port": 5000, "tapis_auth": True, "tapis_auth_allowed_users": ["AUTHORIZED_USERS"],
              "tapis_auth_response_headers": {"X-Who": "<<tapisusername>>"}}
    user.create_pod(pod_id="gated", image="podway/hello", status_requested="OFF", networking={"default": stanza})
    equal(user.pod_auth(pod_id_net="gated"), "Already authenticated")
    fails(errors.ForbiddenError, "not in the tapis_auth_allowed_users", other.pod_auth, pod_id_net="gated")
    fails(errors.UnauthorizedError, "No Tapis access token", anonymous.pod_auth, pod_id_net="gated")
    fails(errors.ForbiddenError, "tapis_auth is not set", user.pod_auth, pod_id_net="web")
    fails(errors.NotFoundError, "not found", user.pod_auth, pod_id_net="gated-none")
    fails(errors.BadRequestError, "query, code: field required", user.pod_auth_callback, pod_id_net="gated")
    assert "gated.pods.dev.localhost" in [h.host for h in admin.traefik_config()]
    fails(errors.ForbiddenError, "", user.traefik_config)
    user.delete_pod(pod_id="gated")


def end():
    equal(user.delete_pod(pod_id="web")["message"], "Pod successfully deleted.")
    fails(errors.NotFoundError, "not found", user.get_pod, pod_id="web")


failed = []
for part in (service, pods, pod_permissions, commands, power, templates, images, volumes, snapshots, jupyter, proxies,
             end):
    start = time.monotonic()
    try:
        part()
    except Exception:  # the other parts shall have their turn
        traceback.print_exc()
        failed.append(part.__name__)
    print(f"{part.__name__}: {time.monotonic() - start:.1f} s", flush=True)

offered = {name for name, value in vars(user_client.pods).items() if isinstance(value, Operation)}
missing = sorted(offered - Pods.called)
print(f"{len(Pods.called)} of {len(offered)} operations called")
assert not missing, f"not called: {missing}"
assert not failed, f"failed: {failed}"
