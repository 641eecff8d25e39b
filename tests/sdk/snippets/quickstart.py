# The Python snippets of the public documents on pods, in their order, as they are
# printed. snippets_test.go says what is replaced, and why.

# -- Create a client object
# Import the Tapis object
from tapipy.tapis import Tapis

# Log into you the Tapis service by providing user/pass and url.
t = Tapis(base_url='https://tacc.tapis.io',
          username='your username',
          password='your password')

# -- Generate a token
# Get tokens that will be used for authenticated function calls
t.get_tokens()
print(t.access_token.access_token)

# -- Check access to the Tapis APIs
t.authenticator.get_profile(username='apitest')

# -- Log in, again
from tapipy.tapis import Tapis

t = Tapis(
    base_url='https://tacc.tapis.io',
    username='<userid>',
    password='*********'
)

# Makes a request using the user/pass to set an access token.
t.get_tokens()

# -- Register a pod via a template
response = t.pods.create_pod(
    pod_id='docpod',
    template='neo4j',
    description='My example pod!'
)
print(response)

# -- Check the pod
t.pods.get_pod(pod_id='docpod')

# -- Retrieve the logs
t.pods.get_pod_logs(pod_id='docpod')

# -- List templates
templates = t.pods.list_templates()
print(templates)

# -- Create a template
t.pods.create_template(
    template_id='mongo',
    description="TACC's MongoDB template",
    metatags=['mongo', 'database', 'TACC', 'http']
)

# -- Create a template tag
t.pods.create_template_tag(
    template_id='mongo',
    pod_definition={
        "image": "mongo:8",
        "networking": {"default": {"port": 27017, "protocol": "tcp"}},
        "time_to_stop_default": -1,
        "environment_variables": {
            "MONGO_INITDB_ROOT_USERNAME": "<TAPIS_user_username>",
            "MONGO_INITDB_ROOT_PASSWORD": "<TAPIS_user_password>"
        }
    },
    tag='8',
    commit_message='mongo:8 template'
)

# -- Use a template tag
t.pods.create_pod(
    pod_id='mypod',
    template='neo4j:5.26s3se@2025-01-30-17:14:14',
    time_to_stop_default=-1
)
