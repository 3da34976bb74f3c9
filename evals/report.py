def render(data, path):
    import json

    path.write_text(json.dumps(data))


def summary(data):
    return str(
        {
            a["name"]: (a["accuracy"], a["spent_ratio"], a["errors"], a["unextracted"])
            for a in data["arms"]
        }
    )
