using ScottPlot;

namespace ModelGen.Plots;

/// <summary>A drawn picture, to be written as SVG or PNG.</summary>
public sealed class Picture
{
    private readonly Plot _plot;

    internal Picture(Plot plot, int width, int height)
    {
        _plot = plot;
        Width = width;
        Height = height;
    }

    /// <summary>The width, in pixels.</summary>
    public int Width { get; }

    /// <summary>The height, in pixels.</summary>
    public int Height { get; }

    /// <summary>The picture as an SVG document.</summary>
    public string ToSvg() => _plot.GetSvgXml(Width, Height);

    /// <summary>The picture as a PNG file's bytes.</summary>
    /// <param name="scale">How many pixels of the file a pixel of the picture takes, in each direction.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="scale"/> is not from 1 to 8.</exception>
    public byte[] ToPng(int scale = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(scale, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(scale, 8);
        double before = _plot.ScaleFactor;
        _plot.ScaleFactor = scale;
        try
        {
            return _plot.GetImageBytes(Width * scale, Height * scale, ImageFormat.Png);
        }
        finally
        {
            _plot.ScaleFactor = before;
        }
    }

    /// <summary>Writes the picture to a file, as its name's extension says.</summary>
    /// <param name="path">The file, with the extension .svg or .png.</param>
    /// <exception cref="ArgumentException">The extension is another.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        switch (Path.GetExtension(path).ToUpperInvariant())
        {
            case ".SVG": File.WriteAllText(path, ToSvg()); break;
            case ".PNG": File.WriteAllBytes(path, ToPng()); break;
            default: throw new ArgumentException($"{path}: expected the extension .svg or .png.", nameof(path));
        }
    }

    /// <summary>Writes the picture twice: as PATH.svg and as PATH.png.</summary>
    /// <param name="pathWithoutExtension">The file without its extension.</param>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public void SaveBoth(string pathWithoutExtension)
    {
        ArgumentException.ThrowIfNullOrEmpty(pathWithoutExtension);
        Save(pathWithoutExtension + ".svg");
        Save(pathWithoutExtension + ".png");
    }
}
