# The curl snippets of the public documents on pods, in their order, as they are
# printed. snippets_test.go says what is replaced, and why.

# -- Get a token
$ curl -H "Content-type: application/json" \
       -d '{"username": "your_tacc_username", \
            "password": "your_tacc_password", \
            "grant_type": "password" }' \
       https://tacc.tapis.io/v3/oauth2/tokens

# -- Register a pod via a template
curl --request POST \
     --url https://tacc.tapis.io/v3/pods \
     --header 'Content-Type: application/json' \
     --header 'X-Tapis-Token: $JWT' \
     --data '{
        "pod_id": "docpod",
        "template": "neo4j",
        "description": "My example pod!"
     }'

# -- Check the pod
curl --request GET \
     --url https://tacc.tapis.io/v3/pods/docpod \
     --header 'Content-Type: application/json' \
     --header 'X-Tapis-Token: $JWT'

# -- List templates
curl --request GET \
    --url https://tacc.tapis.io/v3/pods/templates \
    --header 'Content-Type: application/json' \
    --header 'X-Tapis-Token: $JWT'

# -- Create a template
curl --request POST \
    --url https://tacc.tapis.io/v3/pods/templates \
    --header 'Content-Type: application/json' \
    --header 'X-Tapis-Token: $JWT' \
    --data '{  
        "template_id": "mongo",  
        "description": "TACC's MongoDB template",  
        "metatags": [ "mongo", "database", "TACC", "http" ]  
    }'

# -- Create a template tag
curl --request POST \
     --url https://tacc.tapis.io/v3/pods/templates/mongo/tags \
     --header 'Content-Type: application/json' \
     --header 'X-Tapis-Token: $JWT' \
     --data '{  
         "pod_definition": {  
             "image": "mongo:8",  
             "networking": { "default": { "port": 27017, "protocol": "tcp" } },  
             "time_to_stop_default": -1,  
             "environment_variables": {  
                 "MONGO_INITDB_ROOT_USERNAME": "<TAPIS_user_username>",  
                 "MONGO_INITDB_ROOT_PASSWORD": "<TAPIS_user_password>"  
             }  
         },  
         "tag": "8",  
         "commit_message": "mongo:8 template"  
     }'

# -- Use a template tag
curl --request POST \
     --url https://tacc.tapis.io/v3/pods \
     --header 'Content-Type: application/json' \
     --header 'X-Tapis-Token: $JWT' \
     --data '{  
         "pod_id": "mypod",  
         "template": "neo4j:5.26s3se@2025-01-30-17:14:14",  
         "time_to_stop_default": -1  
     }'
