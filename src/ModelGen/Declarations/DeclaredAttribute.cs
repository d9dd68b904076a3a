using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace ModelGen.Compiler.Declarations;

/// <summary>
/// One attribute of a declaration, with its arguments under the names of the attribute's properties. It holds on to
/// Roslyn's objects, so it is for the moment of reading and reporting and never for the pipeline.
/// </summary>
internal sealed class DeclaredAttribute
{
    private readonly AttributeData _data;

    public DeclaredAttribute(string name, AttributeData data)
    {
        Name = name;
        _data = data;
        Arguments = ReadArguments(data);
        HasErrors = FindErrors(data, Arguments);
    }

    /// <summary>The attribute's name as it is written in brackets.</summary>
    public string Name { get; }

    /// <summary>The arguments that were given; those that the C# compiler rejects are included, with the kind error.</summary>
    public IReadOnlyList<KeyValuePair<string, TypedConstant>> Arguments { get; }

    /// <summary>Whether the C# compiler rejects the attribute, which it then says itself.</summary>
    public bool HasErrors { get; }

    public SyntaxReference? Syntax => _data.ApplicationSyntaxReference;

    public bool Has(string name) => Arguments.Any(argument => argument.Key == name);

    /// <summary>The integer given for <paramref name="name"/>, or <paramref name="otherwise"/>.</summary>
    public long Integer(string name, long otherwise)
    {
        foreach (KeyValuePair<string, TypedConstant> argument in Arguments)
        {
            if (argument.Key == name && ToInteger(argument.Value.Kind == TypedConstantKind.Error ? null : argument.Value.Value) is { } value)
            {
                return value;
            }
        }

        return otherwise;
    }

    /// <summary>The number given for <paramref name="name"/>, or <paramref name="otherwise"/>.</summary>
    public double Real(string name, double otherwise)
    {
        foreach (KeyValuePair<string, TypedConstant> argument in Arguments)
        {
            if (argument.Key == name && ToValue(name, argument.Value) is { } value)
            {
                return value.Real;
            }
        }

        return otherwise;
    }

    /// <summary>The list of strings given for <paramref name="name"/>, or an empty one.</summary>
    public EquatableArray<string> Strings(string name)
    {
        foreach (KeyValuePair<string, TypedConstant> argument in Arguments)
        {
            if (argument.Key == name && argument.Value is { Kind: TypedConstantKind.Array, IsNull: false })
            {
                return new EquatableArray<string>([.. argument.Value.Values.Select(element => element.Value as string ?? "")]);
            }
        }

        return [];
    }

    /// <summary>The arguments as values.</summary>
    public EquatableArray<DeclaredArgument> ToValues()
    {
        var values = new List<DeclaredArgument>(Arguments.Count);
        foreach (KeyValuePair<string, TypedConstant> argument in Arguments)
        {
            if (ToValue(argument.Key, argument.Value) is { } value)
            {
                values.Add(value);
            }
        }

        return new EquatableArray<DeclaredArgument>([.. values]);
    }

    /// <summary>The part of the type that carries this attribute.</summary>
    public static BaseTypeDeclarationSyntax? FindDeclaration(SyntaxNode attribute)
        => attribute.FirstAncestorOrSelf<BaseTypeDeclarationSyntax>();

    private static IReadOnlyList<KeyValuePair<string, TypedConstant>> ReadArguments(AttributeData data)
    {
        var arguments = new List<KeyValuePair<string, TypedConstant>>();
        if (data.AttributeConstructor is { } constructor)
        {
            for (int i = 0; i < data.ConstructorArguments.Length && i < constructor.Parameters.Length; i++)
            {
                arguments.Add(new(PropertyName(constructor.Parameters[i].Name), data.ConstructorArguments[i]));
            }
        }

        arguments.AddRange(data.NamedArguments);
        return arguments;
    }

    /// <summary>A constructor's parameter and the property that shows it differ only in the case of their first letter.</summary>
    internal static string PropertyName(string parameterName)
        => parameterName.Length == 0 ? parameterName : char.ToUpperInvariant(parameterName[0]) + parameterName.Substring(1);

    private static bool FindErrors(AttributeData data, IReadOnlyList<KeyValuePair<string, TypedConstant>> arguments)
    {
        if (data.AttributeConstructor is null || arguments.Any(argument => ContainsError(argument.Value)))
        {
            return true;
        }

        // A misspelled argument is dropped from the data, so that only its syntax tells that it was there.
        return data.ApplicationSyntaxReference?.GetSyntax() is AttributeSyntax { ArgumentList: { } list }
            && list.Arguments.Count(argument => argument.NameEquals is not null) != data.NamedArguments.Length;
    }

    private static bool ContainsError(TypedConstant constant)
        => constant.Kind == TypedConstantKind.Error
            || (constant is { Kind: TypedConstantKind.Array, IsNull: false } && constant.Values.Any(ContainsError));

    private static DeclaredArgument? ToValue(string name, TypedConstant constant)
    {
        switch (constant.Kind)
        {
            case TypedConstantKind.Primitive or TypedConstantKind.Enum:
                return constant.Value switch
                {
                    float value => DeclaredArgument.Of(name, value),
                    double value => DeclaredArgument.Of(name, value),
                    _ => ToInteger(constant.Value) is { } value ? DeclaredArgument.Of(name, value) : null,
                };
            case TypedConstantKind.Array:
                ImmutableArray<TypedConstant> elements = constant.IsNull ? ImmutableArray<TypedConstant>.Empty : constant.Values;
                return constant.Type is IArrayTypeSymbol { ElementType.SpecialType: SpecialType.System_Double }
                    ? DeclaredArgument.OfReals(name, elements.Select(element => element.Value is double value ? value : 0))
                    : DeclaredArgument.Of(name, elements.Select(element => element.Value is int value ? value : 0));
            default:
                return null;
        }
    }

    private static long? ToInteger(object? value) => value switch
    {
        bool flag => flag ? 1 : 0,
        byte number => number,
        sbyte number => number,
        short number => number,
        ushort number => number,
        int number => number,
        uint number => number,
        long number => number,
        ulong number => unchecked((long)number),
        _ => null,
    };
}
