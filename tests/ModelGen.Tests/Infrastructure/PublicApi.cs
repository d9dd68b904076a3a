using System.Globalization;
using System.Reflection;
using System.Text;

namespace ModelGen.Tests.Infrastructure;

/// <summary>Writes down what an assembly offers to others, one member a line, in an order that depends on names alone.</summary>
public static class PublicApi
{
    private const BindingFlags Members = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static readonly Dictionary<Type, string> Keywords = new()
    {
        [typeof(void)] = "void",
        [typeof(bool)] = "bool",
        [typeof(byte)] = "byte",
        [typeof(sbyte)] = "sbyte",
        [typeof(short)] = "short",
        [typeof(ushort)] = "ushort",
        [typeof(int)] = "int",
        [typeof(uint)] = "uint",
        [typeof(long)] = "long",
        [typeof(ulong)] = "ulong",
        [typeof(float)] = "float",
        [typeof(double)] = "double",
        [typeof(string)] = "string",
        [typeof(object)] = "object",
        [typeof(char)] = "char",
    };

    public static string Describe(Assembly assembly)
    {
        StringBuilder text = new();
        foreach (Type type in assembly.GetTypes().Where(IsVisible).OrderBy(t => t.FullName, StringComparer.Ordinal))
        {
            text.Append(Header(type)).Append('\n');
            foreach (string line in Lines(type).Distinct().Order(StringComparer.Ordinal))
            {
                text.Append("    ").Append(line).Append('\n');
            }

            text.Append('\n');
        }

        return text.ToString();
    }

    private static bool IsVisible(Type type)
        => type.IsNested ? (type.IsNestedPublic || (type.IsNestedFamily && !type.DeclaringType!.IsSealed)) && IsVisible(type.DeclaringType!) : type.IsPublic;

    private static string Header(Type type)
    {
        string kind = type.IsEnum ? "enum"
            : type.IsInterface ? "interface"
            : type.IsValueType ? (type.IsByRefLike ? "ref struct" : "struct")
            : typeof(Delegate).IsAssignableFrom(type) ? "delegate"
            : type.IsAbstract && type.IsSealed ? "static class"
            : type.IsAbstract ? "abstract class"
            : type.IsSealed ? "sealed class" : "class";
        if (type.IsEnum)
        {
            return $"{kind} {Full(type)} : {Name(Enum.GetUnderlyingType(type))}";
        }

        List<string> bases = [];
        if (type.BaseType is { } parent && parent != typeof(object) && parent != typeof(ValueType))
        {
            bases.Add(Name(parent));
        }

        bases.AddRange(type.GetInterfaces().Where(i => i.IsVisible).Select(Name).Order(StringComparer.Ordinal));
        return $"{kind} {Full(type)}{(bases.Count > 0 ? " : " + string.Join(", ", bases) : "")}";
    }

    private static string Full(Type type)
        => (type.IsNested ? Full(type.DeclaringType!) + "." : type.Namespace is { } space ? space + "." : "") + Own(type);

    private static string Own(Type type)
    {
        string name = type.Name;
        int tick = name.IndexOf('`', StringComparison.Ordinal);
        if (tick < 0)
        {
            return name;
        }

        int outer = type.IsNested ? type.DeclaringType!.GetGenericArguments().Length : 0;
        return $"{name[..tick]}<{string.Join(", ", type.GetGenericArguments().Skip(outer).Select(Name))}>";
    }

    private static IEnumerable<string> Lines(Type type)
    {
        if (type.IsEnum)
        {
            return Enum.GetNames(type).Select(name => $"{name} = {Convert.ToInt64(Enum.Parse(type, name), CultureInfo.InvariantCulture)}");
        }

        bool sealedType = type.IsSealed;
        bool Seen(MethodBase? method) => method is not null && (method.IsPublic || ((method.IsFamily || method.IsFamilyOrAssembly) && !sealedType));
        List<string> lines = [];
        foreach (FieldInfo field in type.GetFields(Members).Where(f => f.IsPublic || (f.IsFamily && !sealedType)))
        {
            string modifier = field.IsLiteral ? "const " : (field.IsStatic ? "static " : "") + (field.IsInitOnly ? "readonly " : "");
            string value = field.IsLiteral ? " = " + Convert.ToString(field.GetRawConstantValue(), CultureInfo.InvariantCulture) : "";
            lines.Add($"{(field.IsFamily ? "protected " : "")}{modifier}{Name(field.FieldType)} {field.Name}{value}");
        }

        foreach (ConstructorInfo constructor in type.GetConstructors(Members).Where(c => !c.IsStatic && Seen(c)))
        {
            lines.Add($"{(constructor.IsPublic ? "" : "protected ")}{Own(type)}({Parameters(constructor)})");
        }

        foreach (PropertyInfo property in type.GetProperties(Members))
        {
            MethodInfo? get = Seen(property.GetMethod) ? property.GetMethod : null;
            MethodInfo? set = Seen(property.SetMethod) ? property.SetMethod : null;
            if ((get ?? set) is not { } accessor)
            {
                continue;
            }

            bool init = set?.ReturnParameter.GetRequiredCustomModifiers().Any(m => m.Name == "IsExternalInit") ?? false;
            string index = property.GetIndexParameters() is { Length: > 0 } parameters ? $"this[{string.Join(", ", parameters.Select(p => Name(p.ParameterType)))}]" : property.Name;
            string nullable = new NullabilityInfoContext().Create(property) is { ReadState: NullabilityState.Nullable } && !property.PropertyType.IsValueType ? "?" : "";
            lines.Add($"{Modifiers(accessor)}{Name(property.PropertyType)}{nullable} {index} {{ {(get is null ? "" : "get; ")}{(set is null ? "" : init ? "init; " : "set; ")}}}");
        }

        foreach (MethodInfo method in type.GetMethods(Members).Where(m => Seen(m) && (!m.IsSpecialName || m.Name.StartsWith("op_", StringComparison.Ordinal)) && !m.Name.Contains('<', StringComparison.Ordinal)))
        {
            string generic = method.IsGenericMethodDefinition ? $"<{string.Join(", ", method.GetGenericArguments().Select(Name))}>" : "";
            string nullable = new NullabilityInfoContext().Create(method.ReturnParameter) is { ReadState: NullabilityState.Nullable } && !method.ReturnType.IsValueType ? "?" : "";
            lines.Add($"{Modifiers(method)}{Name(method.ReturnType)}{nullable} {method.Name}{generic}({Parameters(method)})");
        }

        foreach (EventInfo happening in type.GetEvents(Members).Where(e => Seen(e.AddMethod)))
        {
            lines.Add($"event {Name(happening.EventHandlerType!)} {happening.Name}");
        }

        return lines;
    }

    private static string Modifiers(MethodInfo method)
        => (method.IsPublic ? "" : "protected ")
            + (method.IsStatic ? "static " : "")
            + (method.IsAbstract ? "abstract " : method.IsVirtual && method.GetBaseDefinition() != method ? "override " : method.IsVirtual && !method.IsFinal && !method.DeclaringType!.IsSealed ? "virtual " : "");

    private static string Parameters(MethodBase method)
        => string.Join(", ", method.GetParameters().Select(parameter =>
        {
            Type type = parameter.ParameterType;
            string prefix = type.IsByRef ? (parameter.IsOut ? "out " : parameter.IsIn ? "in " : "ref ") : parameter.IsDefined(typeof(ParamArrayAttribute)) ? "params " : "";
            string nullable = new NullabilityInfoContext().Create(parameter) is { ReadState: NullabilityState.Nullable } && !type.IsValueType ? "?" : "";
            string value = !parameter.HasDefaultValue ? "" : " = " + (parameter.DefaultValue switch
            {
                null => type.IsValueType ? "default" : "null",
                bool flag => flag ? "true" : "false",
                string s => $"\"{s}\"",
                IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
                object other => other.ToString(),
            });
            return $"{prefix}{Name(type.IsByRef ? type.GetElementType()! : type)}{nullable} {parameter.Name}{value}";
        }));

    private static string Name(Type type)
    {
        if (Keywords.TryGetValue(type, out string? keyword))
        {
            return keyword;
        }

        if (type.IsByRef)
        {
            return "ref " + Name(type.GetElementType()!);
        }

        if (type.IsPointer)
        {
            return Name(type.GetElementType()!) + "*";
        }

        if (type.IsArray)
        {
            return Name(type.GetElementType()!) + "[" + new string(',', type.GetArrayRank() - 1) + "]";
        }

        if (Nullable.GetUnderlyingType(type) is { } value)
        {
            return Name(value) + "?";
        }

        if (type.IsGenericParameter)
        {
            return type.Name;
        }

        string name = type.Name;
        int tick = name.IndexOf('`', StringComparison.Ordinal);
        if (tick >= 0)
        {
            name = $"{name[..tick]}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>";
        }

        return type.IsNested ? $"{Name(type.DeclaringType!)}.{name}" : name;
    }
}
