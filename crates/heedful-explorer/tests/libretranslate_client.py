"""LibreTranslate's Python client against `heedful explore`: python libretranslate_client.py PATH_OF_HEEDFUL (needs libretranslatepy)."""

import os
import subprocess
import sys
import urllib.error

from libretranslatepy import LibreTranslateAPI


def serve(*arguments, **variables):
    command = [sys.argv[1], "explore", "--no-open", "--port", "0", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **variables})
    return server, server.stdout.readline().strip().split("#")[0]


def check(client):
    text = "Der Hund schläft. Kannst du mir helfen?"
    translation = client.translate(text, "de", "en")
    assert "dog" in translation and translation.endswith("?"), translation
    assert client.translate(text, "auto", "en") == translation
    assert client.detect(text)[0]["language"] == "de", client.detect(text)
    languages = {language["code"]: language for language in client.languages()}
    assert languages["de"] == {"code": "de", "name": "German", "targets": ["en"]} and "en" in languages, languages
    try:
        client.translate(text, "fr", "en")
    except urllib.error.HTTPError as error:
        assert error.code == 400 and b"no model from" in error.read()
    else:
        raise AssertionError("there is no model for French")
    return translation


server, address = serve()
try:
    translation = check(LibreTranslateAPI(address))
finally:
    server.terminate()
    assert server.wait(timeout=20) == 0, "asked to end, it ends well"

server, address = serve(HEEDFUL_API_KEY="secret")
try:
    check(LibreTranslateAPI(address, api_key="secret"))
    for call in (lambda client: client.translate("Hund", "de", "en"), lambda client: client.languages(), lambda client: client.detect("Hund")):
        try:
            call(LibreTranslateAPI(address))
        except urllib.error.HTTPError as error:
            assert error.code == 401, error
        else:
            raise AssertionError("the key was not asked for")
finally:
    server.terminate()
    server.wait(timeout=20)

print(f"libretranslatepy: translated, detected and listed, with and without a key: {translation}")
