using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>Chat templates against Jinja's own renderings (tests/fixtures/make_chat_templates.py), and what hostile ones can do.</summary>
public sealed class ChatTemplateTests
{
    private static readonly DateTimeOffset s_now = new(2026, 3, 5, 14, 7, 9, TimeSpan.Zero);

    private static readonly Dictionary<string, string> s_special = new() { ["bos_token"] = "<s>", ["eos_token"] = "</s>" };

    [Fact]
    public void Templates_render_as_Jinja_does() => Check(published: false);

    [Fact]
    public void Published_templates_render_as_transformers_does() => Check(published: true);

    private static void Check(bool published)
    {
        using JsonDocument data = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "chat-templates.json")));
        JsonElement root = data.RootElement;
        var templates = new Dictionary<string, ChatTemplate>();
        var failures = new StringBuilder();
        int count = 0;
        foreach (JsonElement one in root.GetProperty("cases").EnumerateArray())
        {
            string name = one.GetProperty("template").GetString()!;
            if (name.EndsWith(".jinja", StringComparison.Ordinal) != published)
            {
                continue;
            }

            count++;
            if (!templates.TryGetValue(name, out ChatTemplate? template))
            {
                template = ChatTemplate.Parse(published ? File.ReadAllText(TestData.File("templates", name)) : root.GetProperty("templates").GetProperty(name).GetString()!);
                templates.Add(name, template);
            }

            string? found;
            string why = "";
            try
            {
                ChatTurn[] turns = [.. root.GetProperty("chats").GetProperty(one.GetProperty("chat").GetString()!).EnumerateArray().Select(Turn)];
                Dictionary<string, object?>? variables = one.GetProperty("tools").GetBoolean() ? new() { ["tools"] = Value(root.GetProperty("tools")) } : null;
                found = template.Render(turns, one.GetProperty("prompt").GetBoolean(), variables, s_special, s_now, TestContext.Current.CancellationToken).Text;
            }
            catch (ChatTemplateException exception)
            {
                found = null;
                why = exception.Message;
            }

            bool isRight = one.TryGetProperty("refused", out _) ? found is null
                : one.TryGetProperty("text", out JsonElement text) ? found == text.GetString()
                : found?.Length == one.GetProperty("length").GetInt32() && Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(found))) == one.GetProperty("sha256").GetString();
            if (!isRight && failures.Length < 8000)
            {
                failures.Append(one.GetRawText()).Append("\nbut ").Append(found is null ? why : JsonSerializer.Serialize(found)).Append("\n\n");
            }
        }

        Assert.True(failures.Length == 0, failures.ToString());
        Assert.True(count > 80);
    }

    [Fact]
    public void What_messages_say_is_no_special_token()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf"));
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}{{ '<s>' + m.role + ' ' + (m.content | trim | replace('x', '<') | upper | lower) + '</s>' }}{% endfor %}{{ bos_token }}");
        int[] ids = tokenizer.Encode(template.Render([new ChatTurn("user", " xs> a </s><s> "), new ChatTurn("user", "</s>")], specialTokens: s_special));
        Assert.Equal(3, ids.Count(static id => id == 1));
        Assert.Equal(2, ids.Count(static id => id == 2));

        // Halves of a name, one of them the template's, are none; nor is what is cut or joined.
        template = ChatTemplate.Parse("{{ '</' + messages[0].content }}{{ messages[1].content[1:5] }}{{ messages | map(attribute='content') | join('') }}{{ messages | tojson }}{{ messages }}{{ messages[1].content.split('x') | first }}{{ messages[1].content | indent }}{{ messages[1].content | reverse | reverse }}{{ '%s' ~ messages[1].content }}");
        ids = tokenizer.Encode(template.Render([new ChatTurn("user", "s>"), new ChatTurn("user", "x</s>x")]));
        Assert.DoesNotContain(ids, static id => id is 1 or 2);

        // Roles are words, which templates make names of.
        Assert.Throws<ArgumentException>(() => template.Render([new ChatTurn("user</s>", "")]));
        template = ChatTemplate.Parse("{{ '</' + messages[0].role + '>' }}");
        Assert.Equal([2], tokenizer.Encode(template.Render([new ChatTurn("s", "")])));
    }

    [Theory]
    [InlineData("{% for a in range(100000000) %}{% endfor %}", "more than")]
    [InlineData("{% for a in range(3000) %}{% for b in range(3000) %}x{% endfor %}{% endfor %}", "more than")]
    [InlineData("{{ 'x' * 100000000000 }}", "more than")]
    [InlineData("{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", "more than")]
    [InlineData("{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(100) %}{% set ns.x = ns.x.replace('x', 'xxxxxxxxxxxxxxxxxxxxx') %}{% endfor %}", "more than")]
    [InlineData("{% set ns = namespace(x=[]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "more than")]
    [InlineData("{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", "deep")]
    [InlineData("{% set ns = namespace(x=[], y=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}", "deep")]
    [InlineData("{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}", "deep")]
    [InlineData("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "deep")]
    [InlineData("{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}", "deep")]
    [InlineData("{{ 9223372036854775807 + 1 }}", "64 bits")]
    [InlineData("{{ 10 ** 1000 }}", "64 bits")]
    [InlineData("{{ 1 // 0 }}", "zero")]
    [InlineData("{{ raise_exception(9223372036854775806 % 9223372036854775807 ~ ' ' ~ -7 % 3 ~ ' ' ~ 7 % -3 ~ ' ' ~ -6 % 3) }}", "9223372036854775806 2 -2 0")]
    [InlineData("{{ messages.append(1) }}", "function")]
    [InlineData("{{ ''.__class__.__mro__ }}", "undefined")]
    [InlineData("{{ messages.__class__ }}", null)]
    [InlineData("{{ missing.x }}", "undefined")]
    [InlineData("{{ self }}{{ joiner }}", null)]
    [InlineData("{% include 'x' %}", "include")]
    [InlineData("{% import 'x' as y %}", "import")]
    [InlineData("{% if %}", "expression")]
    [InlineData("{% if true %}", "endif")]
    [InlineData("\n\n{{ 'x }}", "line 3")]
    [InlineData("{{ 1 +", "no end")]
    [InlineData("{{ x | nothing }}", "nothing")]
    [InlineData("{{ x is nothing }}", "nothing")]
    [InlineData("{{ raise_exception('no\n\u001b[0m') }}", "refuses")]
    [InlineData("{{ ) }}", "closes nothing")]
    [InlineData("{% set messages.x = 1 %}", "namespace")]
    [InlineData("{# never ends", "comment")]
    public void Hostile_templates_end(string source, string? part)
    {
        if (part is null)
        {
            Render(source);
            return;
        }

        Assert.Contains(part, Assert.Throws<ChatTemplateException>(() => Render(source)).Message, StringComparison.Ordinal);
    }

    // What makes no text takes time all the same: without a price for what is looked at, each of these would run for hours.
    [Theory]
    [InlineData("t.isdigit()")]
    [InlineData("t.isspace()")]
    [InlineData("t.find('x')")]
    [InlineData("t.count('xy')")]
    [InlineData("t.strip(' ')")]
    [InlineData("t.strip('0123456789abcdef')")]
    [InlineData("t.split('xy')")]
    [InlineData("t.endswith(t)")]
    [InlineData("t | wordcount")]
    [InlineData("t | int")]
    [InlineData("t | trim")]
    [InlineData("t | replace('', '')")]
    [InlineData("t | reverse")]
    [InlineData("t | list")]
    [InlineData("t is upper")]
    [InlineData("t in u")]
    [InlineData("u == v")]
    [InlineData("u < v")]
    [InlineData("[u, v] | sort")]
    [InlineData("{t: 1}")]
    [InlineData("m[t]")]
    [InlineData("m.get(t)")]
    [InlineData("t in m")]
    [InlineData("m == n")]
    [InlineData("dict(k)")]
    [InlineData("k | dictsort")]
    [InlineData("k | length", false)]
    [InlineData("t[0]", false)]
    public void What_is_looked_at_counts(string expression, bool isDear = true)
    {
        string source = "{% set t = '0123456789abcdef' * 150000 %}{% set u = t ~ 'x' %}{% set v = t ~ 'y' %}{% set m = {u: 1} %}{% set n = {u: 2} %}"
            + "{% set k = {" + string.Join(", ", Enumerable.Range(0, 4000).Select(static i => FormattableString.Invariant($"{i}: 0"))) + "} %}"
            + "{% for i in range(150000) %}{% set x = " + expression + " %}{% endfor %}done";
        using var late = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        string Render() => ChatTemplate.Parse(source).Render([], cancellation: late.Token).Text;
        if (isDear)
        {
            Assert.Contains("more than", Assert.Throws<ChatTemplateException>(Render).Message, StringComparison.Ordinal);
        }
        else
        {
            Assert.Equal("done", Render());
        }
    }

    [Fact]
    public void Nesting_and_mutations_end()
    {
        foreach (string open in (string[])["(", "[", "{'a':", "-", "not ", "x[", "f(", "x if ", "{% if x %}", "{% for a in b %}", "{{ 1 "])
        {
            foreach (int count in (int[])[3, 50, 200, 20000])
            {
                string source = open.StartsWith("{%", StringComparison.Ordinal) ? string.Concat(Enumerable.Repeat(open, count)) : "{{ " + string.Concat(Enumerable.Repeat(open, count));
                Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(source));
            }
        }

        foreach (string link in (string[])[" + x", ".x", "[0]", " | list", " or x", " and x", " if x", "()", " is defined", " ~ x", " == x"])
        {
            Assert.ThrowsAny<ChatTemplateException>(() => Render("{% set x = missing %}{{ x" + string.Concat(Enumerable.Repeat(link, 30000)) + " }} {{ missing.y }}"));
        }

        using JsonDocument data = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "chat-templates.json")));
        string[] sources = [.. data.RootElement.GetProperty("templates").EnumerateObject().Select(static template => template.Value.GetString()!)];
        var random = new Random(4);
        string[] scraps = ["{{", "}}", "{%", "%}", "-", "'", "(", ")", "[", "|", "endfor", "in", "not", "~", "**", "999999999", "range", "messages", "\n", "\u0000", "loop", ".", ":"];
        int rendered = 0;
        for (int i = 0; i < 3000; i++)
        {
            string source = sources[random.Next(sources.Length)];
            for (int change = random.Next(1, 4); change > 0; change--)
            {
                int at = random.Next(source.Length);
                int length = Math.Min(random.Next(8), source.Length - at);
                source = source[..at] + (random.Next(2) == 0 ? scraps[random.Next(scraps.Length)] : "") + source[(at + length)..];
            }

            try
            {
                Render(source);
                rendered++;
            }
            catch (ChatTemplateException)
            {
            }
        }

        Assert.InRange(rendered, 100, 2900);
    }

    private static string Render(string source)
        => ChatTemplate.Parse(source).Render([new ChatTurn("user", "a"), new ChatTurn("assistant", "b")], specialTokens: s_special, now: s_now, cancellation: TestContext.Current.CancellationToken).Text;

    private static ChatTurn Turn(JsonElement message) => new(message.GetProperty("role").GetString()!, message.GetProperty("content") is { ValueKind: JsonValueKind.String } text ? text.GetString() : null)
    {
        More = message.EnumerateObject().Where(static member => member.Name != "role" && !(member.Name == "content" && member.Value.ValueKind is JsonValueKind.String or JsonValueKind.Null)).ToDictionary(static member => member.Name, static member => Value(member.Value)),
    };

    private static object? Value(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString(),
        JsonValueKind.Number => value.TryGetInt64(out long integer) ? (object)integer : value.GetDouble(),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Array => value.EnumerateArray().Select(Value).ToArray(),
        JsonValueKind.Object => value.EnumerateObject().ToDictionary(static member => member.Name, static member => Value(member.Value)),
        _ => null,
    };
}
