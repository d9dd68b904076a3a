using System.CommandLine;
using System.Globalization;
using Microsoft.CodeAnalysis.CSharp;

namespace ModelGen.Tool;

/// <summary>Writes the declaration of a file's model, by itself or as a program that runs it.</summary>
internal static class ImportCommand
{
    public static Command Create()
    {
        Argument<string> file = new("FILE") { Description = "A GGUF, safetensors or llama2.c file, or a folder with model.safetensors and config.json." };
        Option<string?> name = new("--name") { Description = "The class. [default: by the file's name]", HelpName = "NAME" };
        Option<string?> project = new("--project") { Description = "Write a console project into this folder, which must be empty or new: the class, and a program that continues a text with it.", HelpName = "FOLDER" };
        Option<int?> context = new("--context") { Description = $"The longest sequence. [default: the model's, at most {DeclaredContext.Default}]", HelpName = "N" };
        var command = new Command("import", "Write the C# class of a file's model, to be compiled into a program of your own.") { file, name, project, context };
        command.SetAction(result =>
        {
            Run(result.GetValue(file)!, result.GetValue(name), result.GetValue(project), result.GetValue(context));
            return ExitCode.Success;
        });
        return command;
    }

    private static void Run(string path, string? name, string? folder, int? context)
    {
        using ModelSource source = ModelSource.Open(path);

        // As generate runs it: a file of blocks would be several times as large as floats.
        ModelCode code = source.DeclareAsStored(context);
        string typeName = name ?? NameOf(path);
        if (!SyntaxFacts.IsValidIdentifier(typeName) || SyntaxFacts.GetKeywordKind(typeName) != SyntaxKind.None)
        {
            throw new UsageException($"--name: expected the name of a class, found {typeName}.");
        }

        if (folder is null)
        {
            Console.Out.Write(code.SourceText(typeName));
            return;
        }

        if (ModelCode.AttributeType(code.Attribute) is not { } attribute || !(attribute.IsAssignableTo(typeof(DecoderAttribute)) || attribute == typeof(GptAttribute) || attribute == typeof(RecurrentLmAttribute) || attribute == typeof(NnlmAttribute)))
        {
            throw new UsageException($"--project: expected a model that continues texts, found [{code.Attribute}]: without the option its class is printed.");
        }

        if (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any())
        {
            throw new UsageException($"--project: expected an empty folder or a new one, found {folder} with something in it.");
        }

        string program = Program(typeName, Path.GetFullPath(source.Weights.Path), Tokenizers.PathOf(source) is { } tokenizer ? Path.GetFullPath(tokenizer) : null);
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, typeName + ".cs"), code.SourceText(typeName));
        File.WriteAllText(Path.Combine(folder, "Program.cs"), program);
        File.WriteAllText(Path.Combine(folder, typeName + ".csproj"), Project());
        Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{folder}: {typeName}.cs, Program.cs and {typeName}.csproj. dotnet run -c Release --project {folder} runs it."));
    }

    // Words of the file's name, each with a capital.
    private static string NameOf(string path)
    {
        string name = Path.GetFileNameWithoutExtension(path.TrimEnd('/', '\\'));
        string[] words = new string([.. name.Select(static c => char.IsAsciiLetterOrDigit(c) ? c : ' ')]).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        string joined = string.Concat(words.Select(static word => char.ToUpperInvariant(word[0]) + word[1..]));
        return joined.Length == 0 ? "Model" : char.IsAsciiDigit(joined[0]) ? "Model" + joined : joined;
    }

    private static string Program(string typeName, string weights, string? tokenizer) =>
        $$"""
        using System;
        using System.Linq;
        using ModelGen;

        // The weights and the tokenizer: here they lie where they were imported from.
        string weights = args.Length > 1 ? args[1] : {{SymbolDisplay.FormatLiteral(weights, quote: true)}};
        string vocabulary = args.Length > 2 ? args[2] : {{(tokenizer == weights ? "weights" : SymbolDisplay.FormatLiteral(tokenizer ?? "tokenizer.json", quote: true))}};
        TextTokenizer tokenizer = TextTokenizer.Load(vocabulary);
        {{typeName}} model = {{typeName}}.Load(weights);
        using CausalSession session = model.CreateSession();

        string prompt = args.Length > 0 ? args[0] : "Once upon a time";
        int[] tokens = tokenizer.EncodePrompt(prompt);
        var sampler = new Sampler(new SamplingOptions { Temperature = 0.8f, TopP = 0.95f }, {{typeName}}.VocabularySize);
        var decoder = new TextDecoder(tokenizer);
        char[] characters = new char[decoder.MaximumCharactersPerToken];
        Console.Write(prompt);
        ReadOnlySpan<float> logits = session.Prefill(tokens);
        for (int i = 0; i < 200 && session.Position < {{typeName}}.ContextLength; i++)
        {
            int token = sampler.Sample(logits);
            if (tokenizer.EndTokens.Contains(token))
                break;
            Console.Out.Write(characters.AsSpan(0, decoder.Append(token, characters)));
            logits = session.Decode(token);
        }

        Console.WriteLine();

        """;

    private static string Project()
    {
        string version = typeof(CausalSession).Assembly.GetName().Version!.ToString(3);
        return $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <Nullable>enable</Nullable>
              </PropertyGroup>

              <ItemGroup>
                <PackageReference Include="ModelGen" Version="{version}" />
                <PackageReference Include="ModelGen.Text" Version="{version}" />
              </ItemGroup>
            </Project>

            """;
    }
}
