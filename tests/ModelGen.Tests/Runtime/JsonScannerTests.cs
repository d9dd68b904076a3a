using System.Text;
using System.Text.Json;
using ModelGen.Runtime;

namespace ModelGen.Tests.Runtime;

/// <summary>The reader of JSON, token by token beside the framework's.</summary>
public sealed class JsonScannerTests
{
    private const int Deepest = 5;

    private static readonly string[] s_texts =
    [
        "{}", "[]", " \t\r\n[ ] \n", "0", "-0", "12.5e-3", "\"\"", "true", "null", "false", "[1,2 , 3]", "{\"a\":1,\"b\" : [ {} , {\"c\":null} ]}", "[9223372036854775807,-9223372036854775808,9223372036854775808,-9223372036854775809,92233720368547758070,1e2,1.0]",
        "\"a\\u0041\\n\\t\\\"\\\\\\/\\b\\f\\r\\ud83d\\ude00\\u00e9\u00e9\ud83d\ude00\"", "{\"\\u0061\":\"x\"}", "[[[[[]]]]]", "[[[[[[]]]]]]", "{\"weights\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},\"__metadata__\":{\"a\":\"b\"}}",
        "", " ", "[", "]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "[1,]", "[,1]", "{,}", "[1 2]", "{\"a\" 1}", "{1:2}", "01", "-", "1.", ".5", "1e", "1e+", "+1", "tru", "truex", "nul", "\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\n\"", "{} {}", "[] x", "1 1",
        "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83dx\"", "\"\\ude00\\ud83d\"", "\"\\ud83d\\ud83d\\ude00\"", "[\"\\u0000\"]", "/* */ 1", "[1]]", "{\"a\":1]", "[1}", "--1", "'a'", "NaN", "\ufeff1",
    ];

    [Fact]
    public void TokensAreTheFrameworks()
    {
        foreach (string text in s_texts)
        {
            Assert.Equal(Frameworks(text), Own(text));
        }
    }

    [Fact]
    public void SoAreThoseOfDamagedTexts()
    {
        var random = new Random(21);
        const string Characters = "{}[]\":,\\u0123456789abcdeE+-. \ntrfalsn\u00e9";
        for (int round = 0; round < 20_000; round++)
        {
            var text = new StringBuilder(s_texts[random.Next(s_texts.Length)]);
            for (int i = 0; i < 1 + (round % 4); i++)
            {
                int at = random.Next(text.Length + 1);
                char c = Characters[random.Next(Characters.Length)];
                if (round % 3 == 0 || at == text.Length)
                {
                    text.Insert(at, c);
                }
                else if (round % 3 == 1)
                {
                    text.Remove(at, 1);
                }
                else
                {
                    text[at] = c;
                }
            }

            // What is no text is refused before it is read.
            string damaged = text.ToString();
            if (!Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(damaged)).Contains('\ufffd'))
            {
                Assert.Equal(Frameworks(damaged), Own(damaged));
            }
        }
    }

    [Fact]
    public void WhatIsSkippedIsWhatBegins()
    {
        var reader = new JsonScanner("""{ "a": { "b": [1, { "c": [] }] }, "d": [[], 2], "e": 3, "f": 4 }"""u8, 16);
        reader.Read();
        List<string> names = [];
        while (reader.Read() && reader.Token == JsonToken.PropertyName)
        {
            names.Add(reader.Text());
            reader.Read();
            reader.Skip();
        }

        Assert.Equal(["a", "d", "e", "f"], names);
        Assert.False(reader.Read());
    }

    [Fact]
    public void NamesAreComparedAsWhatTheyMean()
    {
        var reader = new JsonScanner("""["shape", "sh\u0061pe", "shapes", "shap", "Shape"]"""u8, 16);
        reader.Read();
        foreach (bool isShape in new[] { true, true, false, false, false })
        {
            reader.Read();
            Assert.Equal(isShape, reader.Is("shape"));
        }
    }

    private static string Own(string text)
    {
        var found = new StringBuilder();
        var reader = new JsonScanner(Encoding.UTF8.GetBytes(text), Deepest);
        try
        {
            while (reader.Read())
            {
                found.Append(reader.Token).Append(' ');
                if (reader.Token is JsonToken.String or JsonToken.PropertyName)
                {
                    found.Append(reader.Text()).Append(' ');
                }
                else if (reader.Token is JsonToken.Number)
                {
                    found.Append(reader.TryInteger(out long value) ? $"{value}" : Encoding.UTF8.GetString(reader.Value)).Append(' ');
                }
            }
        }
        catch (FormatException)
        {
            return "refused";
        }
        catch (InvalidOperationException)
        {
            return "no text";
        }

        return found.ToString();
    }

    private static string Frameworks(string text)
    {
        var found = new StringBuilder();
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(text), new JsonReaderOptions { MaxDepth = Deepest });
        try
        {
            while (reader.Read())
            {
                found.Append(reader.TokenType is JsonTokenType.True or JsonTokenType.False or JsonTokenType.Null ? "Literal" : reader.TokenType.ToString()).Append(' ');
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
                {
                    found.Append(reader.GetString()).Append(' ');
                }
                else if (reader.TokenType == JsonTokenType.Number)
                {
                    found.Append(reader.TryGetInt64(out long value) ? $"{value}" : Encoding.UTF8.GetString(reader.ValueSpan)).Append(' ');
                }
            }
        }
        catch (JsonException)
        {
            return "refused";
        }
        catch (InvalidOperationException)
        {
            return "no text";
        }

        return found.ToString();
    }
}
