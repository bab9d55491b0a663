"""Requests drawn from an OpenAPI document, and what it promises about the responses

Draws what a schema allows, and bodies that it forbids; checks status, content type and body of a response against the document. It knows what our document
uses; `make schemathesis` runs the whole tool where it is installed."""
import base64, json
import jsonschema
from hypothesis import strategies as st

def resolved(document, schema):
    while '$ref' in schema:
        node = document
        for key in schema['$ref'].removeprefix('#/').split('/'): node = node[key]
        schema = node
    return schema

WORDS = st.text(st.characters(codec='utf-8'), max_size=30)
NUMBERS = st.integers(-2**70, 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ANY = st.recursive(st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8)

def values(document, schema):
    "Return a strategy for values that `schema` allows"
    schema = resolved(document, schema)
    for key in ('anyOf', 'oneOf'):
        if key in schema and 'properties' not in schema: return st.one_of([values(document, part) for part in schema[key]])
    kind = schema.get('type')
    if kind=='null': return st.none()
    if kind=='integer': return st.integers(-2**40, 2**40)
    if kind=='string' and schema.get('format')=='binary': return st.binary(max_size=200)
    if kind=='string' and schema.get('contentEncoding')=='base64': return st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode())
    if kind=='string': return WORDS.filter(lambda text: len(text)<=schema.get('maxLength', 30))
    if kind=='array': return st.lists(values(document, schema['items']), min_size=schema.get('minItems', 0), max_size=min(schema.get('maxItems', 3), 3))
    if kind=='object': return objects(document, schema)
    return ANY

@st.composite
def objects(draw, document, schema):
    wanted = [*schema.get('required', []), *draw(st.sampled_from(schema['oneOf']))['required']] if 'oneOf' in schema else schema.get('required', [])
    others = [name for name in schema.get('properties', {}) if name not in wanted]
    forbidden = {name for part in schema.get('oneOf', []) for name in part['required']}
    names = [*wanted, *(name for name in others if name not in forbidden and draw(st.booleans()))]
    parts = {name: resolved(document, schema['properties'][name]) for name in names}
    required = {name: [choice for choice in part.get('anyOf', [part]) if choice.get('type')!='null'][0] for name,part in parts.items() if name in forbidden}
    return {name: draw(values(document, required.get(name, part))) for name,part in parts.items()}

def operations(document):
    "Yield path, method and operation of everything in the document"
    for path,item in document['paths'].items():
        for method,operation in item.items(): yield path,method.upper(),operation

def form_files(document, schema, body):
    "Return the fields of a form for httpx"
    return [(name, ('a.jpg', part)) for name,parts in body.items() for part in parts]

def check_response(document, operation, response):
    "Assert that a response is one that the document describes"
    status = str(response.status_code)
    assert status in operation['responses'], f'{response.request.method} {response.request.url.path} returned {status}, which is not described: {response.text[:300]}'
    described = operation['responses'][status].get('content', {})
    kind = response.headers.get('content-type', '').partition(';')[0]
    assert kind in described, f'{status} as {kind}, described as {list(described)}'
    schema = described[kind].get('schema')
    if schema and kind.endswith('json'):
        whole = dict(schema, components=document['components'])
        jsonschema.Draft202012Validator(whole).validate(json.loads(response.content))
