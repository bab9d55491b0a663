"What the server says about itself in its OpenAPI document is what it does, for requests drawn from that document and for requests that it forbids"
import json
import pytest
pytest.importorskip('fastapi')
pytest.importorskip('prometheus_client')
pytest.importorskip('jsonschema')
pytest.importorskip('httpx')
from hypothesis import HealthCheck, given, settings, strategies as st
from starlette.testclient import TestClient
from fashion_fastai.serving.api.app import create_api
from fashion_fastai.serving.api.service import Service
from helpers.openapi import ANY, WORDS, check_response, form_files, operations, values
from helpers.served import form, jpeg, make_run, refusal

KEY = 'a-secret-of-the-shop'
METHODS = 'GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE'
STEPS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

@pytest.fixture(scope='module')
def client(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp('api')/'shop')
    with TestClient(create_api(Service(run.path), [KEY]), headers={'Authorization': f'Bearer {KEY}'}, raise_server_exceptions=False) as client: yield client

@pytest.fixture(scope='module')
def document(client): return client.get('/openapi.json').json()

def with_body(document): return [(path, operation) for path,method,operation in operations(document) if method=='POST']
def schema_of(operation, kind): return operation['requestBody']['content'][kind]['schema']

def test_every_get_answers_as_described(client, document):
    found = [(path, operation) for path,method,operation in operations(document) if method=='GET']
    assert {path for path,_ in found}>={'/v1/schema', '/v1/labels', '/metrics', '/health', '/ready'}
    for path,operation in found:
        response = client.get(path)
        assert response.status_code==200
        check_response(document, operation, response)

@STEPS
@given(data=st.data())
def test_json_that_the_document_allows(client, document, data):
    for path,operation in with_body(document):
        body = data.draw(values(document, schema_of(operation, 'application/json')))
        response = client.post(path, json=body)
        check_response(document, operation, response)
        assert response.status_code in (200, 422)
        if response.status_code==422: assert refusal(response)[1] in ('bad_image', 'invalid_body', 'no_addresses', 'too_many_images')

@STEPS
@given(data=st.data())
def test_forms_that_the_document_allows(client, document, data):
    for path,operation in with_body(document):
        schema = schema_of(operation, 'multipart/form-data')
        response = client.post(path, files=form_files(document, schema, data.draw(values(document, schema))))
        check_response(document, operation, response)
        assert response.status_code==(200 if path.endswith('batch') else 422) # no bytes of a random image are one

@st.composite
def forbidden(draw):
    "Draw JSON that no route takes"
    good = dict(base64='R0lGODlh')
    image = draw(st.sampled_from([{}, good|dict(url='https://shop.example/1.jpg'), dict(base64=1), dict(base64=None), good|dict(name='x'*1001), good|dict(name=3),
        good|dict(more=1), [], 'text', None, dict(base64='?!'), dict(base64='R0lGODl')]))
    return draw(st.sampled_from([dict(images=[image]), dict(images=[good, image]), dict(images=image), dict(image=[good]), dict(images=[good], more=1), [good], image]) | ANY)

@STEPS
@given(body=forbidden())
def test_json_that_the_document_forbids(client, document, body):
    for path,operation in with_body(document):
        response = client.post(path, content=json.dumps(body), headers={'content-type': 'application/json'})
        check_response(document, operation, response)
        assert refusal(response)[0]==422

@STEPS
@given(content=st.binary(max_size=300), kind=st.sampled_from(['application/json', 'multipart/form-data; boundary=X', 'multipart/form-data', 'text/plain', '']) | WORDS,
    start=st.sampled_from([b'', b'--X\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n', b'{"images": [{"base64": "', b'\xff\xfe{\x00']))
def test_any_bytes(client, document, content, kind, start):
    for path,operation in with_body(document):
        response = client.post(path, content=start+content, headers={'content-type': kind.encode('utf-8')})
        check_response(document, operation, response)
        assert response.status_code in (200, 415, 422)

def test_methods_and_routes_that_do_not_exist(client, document):
    described = {(path, method) for path,method,_ in operations(document)}
    for path in document['paths']:
        for method in METHODS:
            if (path, method) in described: continue
            response = client.request(method, path)
            assert response.status_code==405 and response.headers['allow'], (method, path)
            if method!='HEAD': assert refusal(response)==(405, 'method_not_allowed')
    for path in ('/v1', '/v1/predict/', '/%2e%2e/etc/passwd', '/v1/predict%00', '/'+'x'*3000):
        assert refusal(client.get(path))==(404, 'not_found')

def test_a_key_is_needed_wherever_the_document_says_so(client, document):
    n = 0
    for path,method,operation in operations(document):
        for headers in ({'Authorization': ''}, {'Authorization': f'Basic {KEY}'}, {'Authorization': f'Bearer {KEY}x'}, {'Authorization': 'Bearer \xff'.encode('latin-1')}):
            response = client.request(method, path, headers=headers, files=form(jpeg()) if method=='POST' else None)
            if 'security' in operation:
                n += 1
                assert refusal(response)==(401, 'unauthorized')
                check_response(document, operation, response)
            else: assert response.status_code==200
    assert n==20

def test_the_document_is_valid_and_complete(document):
    assert document['openapi'].startswith('3.1') and json.loads(json.dumps(document))==document
    for path,_method,operation in operations(document):
        assert operation['summary'] and operation['description'] and operation['operationId'], path
        for status,response in operation['responses'].items():
            assert response['description'] and (status=='200' or 'application/problem+json' in response['content']), (path, status)
